"""Results reach the store: at once when they are few, together when they are many."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from medvit.errors import StoreError
from medvit.store.store import Store
from pipelines.scanning import result_buffer
from pipelines.scanning.result_buffer import ResultBuffer
from tests.make.results import ct_result


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


@pytest.fixture
def run_id(store: Store) -> int:
    return store.start_run("scan", {}, model="m@1", model_sha256="")


def test_the_first_is_there_at_once_and_the_next_ones_together(
    store: Store, run_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_buffer, "EVERY_S", 3600.0)
    monkeypatch.setattr(result_buffer, "MOST", 3)
    results, counts = ResultBuffer(store, run_id), []
    results.write()  # from now on an hour
    for name in "abcd":
        results.add(ct_result(name, 0.5))
        counts.append(store.list_cases()[1])
    assert counts == [0, 0, 3, 3]
    results.write()
    assert store.list_cases()[1] == 4


def test_results_that_are_far_apart_do_not_wait(
    store: Store, run_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_buffer, "EVERY_S", 0.0)
    results = ResultBuffer(store, run_id)
    for number, name in enumerate("ab", start=1):
        results.add(ct_result(name, 0.5))
        assert store.list_cases()[1] == number


def test_what_the_store_refused_is_kept(store: Store, run_id: int) -> None:
    results = ResultBuffer(store, run_id + 1)
    with pytest.raises(StoreError, match=f"no run '{run_id + 1}'"):
        results.add(ct_result("a", 0.5))
    assert store.start_run("scan", {}, model="m@1", model_sha256="") == run_id + 1
    results.write()
    assert store.list_cases()[1] == 1
