from __future__ import annotations

import gc
import random
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medvit.errors import ReadError
from medvit.tiles import read_ahead as module
from medvit.tiles.read_ahead import read_ahead

STALL_S = 30.0


def readers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("reader-")]


def wait_until(is_so: Callable[[], bool]) -> None:
    for _ in range(2000):
        if is_so():
            return
        time.sleep(0.005)
    pytest.fail("it did not come to pass within 10 s")


@pytest.fixture(autouse=True)
def no_reader_is_left() -> Iterator[None]:
    yield
    wait_until(lambda: not readers())


@settings(max_examples=30, deadline=None)
@given(
    jobs=st.lists(st.integers(), max_size=20),
    workers=st.integers(0, 4),
    depth=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_order_and_content_do_not_depend_on_workers_or_depth(
    jobs: list[int], workers: int, depth: int, seed: int
) -> None:
    delays_s = iter([random.Random(seed).uniform(0, 0.001) for _ in jobs])

    def read(job: int) -> str:
        time.sleep(next(delays_s))
        return f"<{job}>"

    found = list(read_ahead(jobs, read, workers=workers, depth=depth, stall_s=STALL_S))
    assert found == [(job, f"<{job}>") for job in jobs]


class Watched:
    """A result that can be watched, and a reader that counts what it began."""

    def __init__(self) -> None:
        self.begun = 0
        self.alive: weakref.WeakSet[Watched.Result] = weakref.WeakSet()
        self.most_alive = 0
        self._lock = threading.Lock()

    class Result:
        pass

    def __call__(self, _job: int) -> Watched.Result:
        result = Watched.Result()
        with self._lock:
            self.begun += 1
            self.alive.add(result)
            self.most_alive = max(self.most_alive, len(self.alive))
        return result


@pytest.mark.parametrize(("workers", "depth"), [(1, 1), (4, 1), (2, 3), (3, 3)])
def test_no_more_than_depth_wait_beside_what_the_caller_holds(workers: int, depth: int) -> None:
    read = Watched()
    with closing(
        read_ahead(range(20), read, workers=workers, depth=depth, stall_s=STALL_S)
    ) as results:
        held = next(results)
        wait_until(lambda: read.begun == 1 + depth)
        time.sleep(0.02)
        assert read.begun == 1 + depth
        for held in results:
            assert isinstance(held[1], Watched.Result)
    assert read.begun == 20
    assert read.most_alive <= depth + 2  # one more while `held` changes hands


def test_depth_bounds_the_reads_at_a_time() -> None:
    at_work = most_at_work = 0
    lock = threading.Lock()

    def read(job: int) -> int:
        nonlocal at_work, most_at_work
        with lock:
            at_work += 1
            most_at_work = max(most_at_work, at_work)
        time.sleep(0.002)
        with lock:
            at_work -= 1
        return job

    assert len(list(read_ahead(range(12), read, workers=5, depth=2, stall_s=STALL_S))) == 12
    assert most_at_work == 2


def test_readers_work_while_the_caller_does() -> None:
    """Two reads that wait for each other only end when both are under way."""
    meeting = threading.Barrier(2, timeout=10)

    def read(job: int) -> int:
        meeting.wait()
        return job

    assert len(list(read_ahead(range(4), read, workers=2, depth=2, stall_s=STALL_S))) == 4


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_exception_comes_out_at_its_turn(workers: int) -> None:
    def read(job: int) -> int:
        if job == 2:
            msg = "slice 2 is torn"
            raise ReadError(msg, reason="truncated")
        return job

    results = read_ahead(range(6), read, workers=workers, depth=4, stall_s=STALL_S)
    assert [next(results), next(results)] == [(0, 0), (1, 1)]
    with pytest.raises(ReadError, match="slice 2 is torn") as e:
        next(results)
    assert e.value.reason == "truncated"
    assert "read" in [frame.name for frame in e.traceback]
    assert list(results) == []


def test_a_time_out_of_the_reader_itself_is_no_stall() -> None:
    def read(_job: int) -> int:
        msg = "the share said so"
        raise TimeoutError(msg)

    with pytest.raises(TimeoutError, match="the share said so"):
        list(read_ahead([1], read, workers=1, depth=1, stall_s=STALL_S))


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Lets hanging readers go when a test is over."""
    event = threading.Event()
    yield event
    event.set()


def test_a_stalled_reader_is_told_with_its_place_and_a_way_out(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FAREWELL_S", 0.01)

    def read(job: int) -> int:
        return job if job != 2 or gate.wait(60) else -1

    results = read_ahead(range(5), read, workers=2, depth=2, stall_s=0.1, source="case 7")
    assert [next(results), next(results)] == [(0, 0), (1, 1)]
    with pytest.raises(ReadError, match=r"^case 7: part 3 of 5 was not read within 0\.1 s$") as e:
        next(results)
    assert e.value.reason == "unreadable"
    assert "network share" in e.value.hint
    assert len(readers()) >= 1
    others = read_ahead("ab", str.upper, workers=2, depth=2, stall_s=STALL_S)
    assert list(others) == [("a", "A"), ("b", "B")]


def test_a_reader_that_is_slow_but_in_time_is_waited_for() -> None:
    def read(job: int) -> int:
        time.sleep(0.03)
        return job

    assert len(list(read_ahead(range(5), read, workers=1, depth=1, stall_s=10))) == 5


def test_closing_ends_the_readers_and_drops_what_they_read() -> None:
    read = Watched()
    results = read_ahead(range(1000), read, workers=3, depth=4, stall_s=STALL_S)
    with closing(results):
        next(results)
    assert readers() == []
    begun = read.begun
    gc.collect()
    assert len(read.alive) == 0
    time.sleep(0.02)
    assert read.begun == begun <= 5


def test_an_early_end_waits_for_the_read_at_hand() -> None:
    finished = threading.Event()

    def read(job: int) -> int:
        if job == 1:
            time.sleep(0.1)
            finished.set()
        return job

    with closing(read_ahead(range(5), read, workers=1, depth=1, stall_s=STALL_S)) as results:
        next(results)
        time.sleep(0.02)
    assert finished.is_set()


def test_a_loop_that_fails_closes_by_itself() -> None:
    def scan() -> None:
        for job, _ in read_ahead(range(1000), str, workers=2, depth=2, stall_s=STALL_S):
            if job == 3:
                msg = "the network failed"
                raise ValueError(msg)

    with pytest.raises(ValueError, match="the network failed"):
        scan()
    assert readers() == []


def test_nothing_is_begun_before_the_first_result_is_asked_for() -> None:
    read = Watched()
    read_ahead(range(9), read, workers=2, depth=2, stall_s=STALL_S)
    assert read.begun == 0
    assert readers() == []


def test_without_workers_the_caller_reads_when_it_asks() -> None:
    threads = []

    def read(job: int) -> int:
        threads.append(threading.current_thread())
        return job

    results = read_ahead(range(3), read, workers=0, depth=1, stall_s=STALL_S)
    assert next(results) == (0, 0)
    assert threads == [threading.current_thread()]


@pytest.mark.parametrize(
    ("workers", "depth", "stall_s"), [(-1, 1, 1.0), (1, 0, 1.0), (1, 1, 0.0), (1, 1, float("nan"))]
)
def test_numbers_out_of_range_are_refused_at_once(workers: int, depth: int, stall_s: float) -> None:
    with pytest.raises(ValueError, match=f"got {workers=}, {depth=}, {stall_s=}"):
        read_ahead([1], str, workers=workers, depth=depth, stall_s=stall_s)


HANGING = """
import threading
from medvit.errors import ReadError
from medvit.tiles import read_ahead

def hang(job):
    threading.Event().wait()

read_ahead.FAREWELL_S = 0.01
print("begun", flush=True)
try:
    list(read_ahead.read_ahead([1], hang, workers=2, depth=2, stall_s={stall_s}))
except ReadError as error:
    print(error.message)
"""


def test_a_reader_that_hangs_does_not_keep_the_process_from_ending() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGING.format(stall_s=0.1)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == "begun\nthe scan: part 1 of 1 was not read within 0.1 s\n"
    assert done.stderr == ""


def test_ctrl_c_ends_a_wait_for_a_reader_that_hangs() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HANGING.format(stall_s=600)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=120)
    assert told.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode == -signal.SIGINT


STOPPED = """
import time
from medvit.tiles.read_ahead import read_ahead
print("begun", flush=True)
def read(job):
    for _ in range(40):
        time.sleep(0.01)  # a stop prolongs one of these sleeps only
    return job
print(list(read_ahead([1], read, workers=1, depth=1, stall_s=1.5)))
"""


@pytest.mark.slow
def test_a_process_that_was_stopped_does_not_take_that_for_a_stall() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGSTOP)
        time.sleep(2.0)
        process.send_signal(signal.SIGCONT)
        told, _ = process.communicate(timeout=30)
    assert told == "[(1, 1)]\n"
