"""Alarms: on time, again and again, never after their block, one thread for all."""

from __future__ import annotations

import os
import threading
import time

import pytest

from medvit.alarms import Alarm


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "alarms"]


def test_it_rings_once_when_its_time_has_come() -> None:
    rung: list[float] = []
    started = time.monotonic()
    with Alarm(0.02, lambda: rung.append(time.monotonic())):
        time.sleep(0.15)
    assert len(rung) == 1
    assert rung[0] - started >= 0.02


def test_it_does_not_ring_once_its_block_has_ended() -> None:
    rung: list[int] = []
    with Alarm(0.05, lambda: rung.append(1)):
        pass
    time.sleep(0.12)
    assert rung == []


def test_an_error_in_the_block_ends_it_too() -> None:
    rung: list[int] = []
    with pytest.raises(RuntimeError, match="inside"), Alarm(0.05, lambda: rung.append(1)):
        raise RuntimeError("inside")
    time.sleep(0.12)
    assert rung == []


def test_one_that_repeats_rings_until_the_end() -> None:
    rung: list[int] = []
    enough = threading.Event()

    def count() -> None:
        rung.append(1)
        if len(rung) == 5:
            enough.set()

    with Alarm(0.002, count, repeats=True):
        assert enough.wait(10)
    seen = len(rung)
    time.sleep(0.05)
    assert len(rung) == seen


def test_a_sooner_one_is_not_kept_waiting_by_a_later_one() -> None:
    rung = threading.Event()
    with Alarm(60, lambda: None), Alarm(0.01, rung.set):
        assert rung.wait(10)


def test_one_that_fails_is_told_and_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    rung = threading.Event()

    def fail() -> None:
        raise RuntimeError("broken")

    with Alarm(0.01, fail, repeats=True), Alarm(0.05, rung.set):
        assert rung.wait(10)
    assert [record.message for record in caplog.records] == ["an alarm failed"]
    with Alarm(0.01, rung.clear):
        time.sleep(0.1)
    assert not rung.is_set()


def test_many_share_one_thread_which_ends_when_there_is_nothing_to_wait_for() -> None:
    for _ in range(20):
        with Alarm(0.05, lambda: None), Alarm(0.03, lambda: None, repeats=True):
            assert len(threads()) == 1
    deadline = time.monotonic() + 10
    while threads() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not threads()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_has_alarms_of_its_own() -> None:
    with Alarm(60, lambda: None):
        child = os.fork()
        if not child:
            rung = threading.Event()
            with Alarm(0.01, rung.set):
                os._exit(0 if rung.wait(10) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
