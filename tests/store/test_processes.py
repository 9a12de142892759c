"""Several processes at one store, and a process that is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import pytest

from medvit.errors import StoreConflictError, StoreError
from medvit.store.engine import build_engine
from medvit.store.migrate import LATEST, current_version
from medvit.store.rows import CaseFilter, Decision
from medvit.store.store import Store
from tests.make.results import ct_result

pytestmark = pytest.mark.slow
SPAWN = multiprocessing.get_context("spawn")


def _start(work: Callable[..., None], *arguments: object) -> BaseProcess:
    process = SPAWN.Process(target=work, args=arguments)
    process.start()
    return process


def _finish(processes: list[BaseProcess]) -> None:
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def _open(url: str) -> None:
    Store.open(url).close()


def _save_and_decide(url: str, reader: str, n_cases: int) -> None:
    with Store.open(url) as store:
        run_id = store.start_run("scan", {}, model="", model_sha256="")
        for number in range(n_cases):
            result = ct_result(f"{number}", 0.5, 0.6)
            store.save_result(run_id, result)
            store.decide(Decision(result.case.case_id, None, "accept", reader))
            for finding in result.findings:
                store.decide(Decision(finding.case_id, finding.finding_id, "reject", reader))


def _decide_from_zero(url: str, reader: str) -> None:
    with Store.open(url) as store:
        for number in range(10):
            try:
                order = Decision(f"ct-{number}", None, "accept", reader)
                store.decide(order, expected_version=0)
            except StoreConflictError:
                continue


def _save_for_ever(url: str) -> None:
    with Store.open(url) as store:
        run_id = store.start_run("scan", {}, model="", model_sha256="")
        number = 0
        while True:
            store.save_result(run_id, ct_result(f"{number}", *[0.5] * 20))
            store.decide(Decision(f"ct-{number}", None, "accept", "Ann"))
            number += 1


def test_processes_that_open_an_empty_store_at_once_migrate_it_once(store_url: str) -> None:
    _finish([_start(_open, store_url) for _ in range(4)])
    engine = build_engine(store_url)
    with engine.connect() as connection:
        assert current_version(connection) == LATEST
    engine.dispose()


def test_writers_side_by_side_lose_nothing(store_url: str) -> None:
    readers = ["Ann", "Ben", "Cem"]
    _finish([_start(_save_and_decide, store_url, reader, 6) for reader in readers])
    with Store.open(store_url) as store:
        rows, total = store.list_cases()
        assert total == 6
        assert {(row.n_findings, row.n_reviewed, row.review) for row in rows} == {
            (2, 2, "reviewed")
        }
        for row in rows:
            made = store.list_decisions(row.case_id)
            assert sorted(each.reader for each in made) == sorted(readers * 3)
            assert row.version == max(each.id for each in made if each.finding_id is None)


def test_of_readers_at_once_exactly_one_decides(store_url: str) -> None:
    with Store.open(store_url) as store:
        run_id = store.start_run("scan", {}, model="", model_sha256="")
        for number in range(10):
            store.save_result(run_id, ct_result(f"{number}"))
    _finish([_start(_decide_from_zero, store_url, reader) for reader in ("Ann", "Ben", "Cem")])
    with Store.open(store_url) as store:
        made = [store.list_decisions(f"ct-{number}") for number in range(10)]
    assert [len(decisions) for decisions in made] == [1] * 10


def test_a_writer_that_is_killed_leaves_whole_rows(store_url: str) -> None:
    Store.open(store_url).close()
    process = _start(_save_for_ever, store_url)
    with Store.open(store_url) as store:
        deadline = time.monotonic() + 60
        while store.list_cases()[1] < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join(60)
        rows, total = store.list_cases(CaseFilter(sort="scanned"), limit=20)
        assert total >= 3
        found = {len(store.list_findings(row.case_id)) for row in rows}
        assert found == {20}
        assert [row.state for row in rows[1:]] == ["accept"] * (len(rows) - 1)
        store.decide(Decision("ct-0", None, "reject", "Ben"))


def test_a_store_that_is_held_by_somebody_else_says_so(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not store_url.startswith("sqlite"):
        pytest.skip("PostgreSQL locks rows, not the whole database")
    monkeypatch.setattr("medvit.store.engine.BUSY_TIMEOUT_S", 0.05)
    with Store.open(store_url) as store:
        engine = build_engine(store_url)
        with engine.connect() as holder:
            holder.exec_driver_sql("INSERT INTO runs VALUES (1,'s','{}','','','done','{}','','')")
            with pytest.raises(StoreError, match="database is locked"):
                store.start_run("scan", {}, model="", model_sha256="")
        engine.dispose()
