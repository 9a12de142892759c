from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from medvit.errors import ConfigError, InputError
from medvit.findings.finding import CaseResult, Finding
from medvit.io.case import Case
from medvit.tiles.budget import BudgetError
from pipelines.engines import dask
from pipelines.engines.crew import tokens_in
from pipelines.engines.job import Errand, Job
from pipelines.engines.opening import open_engine
from pipelines.engines.presence import Demand, look_around
from pipelines.engines.turns import Turn
from pipelines.engines.worker import done_from, plain_of_done
from pipelines.scanning.journal import Entry
from pipelines.scanning.one_case import CaseDone


def case_of(*files: Path) -> Case:
    return Case("im-1", "image", "a.png", files[0].parent, files)


def errand_of(case: Case) -> Errand:
    job = Job("s", Path("w"), Path("r"), Path("t"), (), "balanced", 1, "cpu", None)
    return Errand.of(Turn(case, 0, "key"), job, left_s=None, neighbours=1)


def test_a_file_that_differs_where_a_worker_looks_is_told(tmp_path: Path) -> None:
    same, larger, older, gone = (tmp_path / name for name in ("same", "larger", "older", "gone"))
    for path in (same, larger, older, gone):
        path.write_bytes(b"1234")
    errand = errand_of(case_of(same, larger, older, gone))
    assert errand.differing() == []
    larger.write_bytes(b"12345")
    os.utime(older, (1.0, 1.0))
    gone.unlink()
    assert errand.differing() == [larger, older, gone]


def test_a_machine_tells_what_it_cannot_see(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    here.mkdir()
    other.mkdir()
    with tokens_in([here]) as token:
        said = look_around(Demand((str(here), "/nowhere/scans"), (str(here), str(other)), token))
    assert said["unseen"] == ["/nowhere/scans"]
    assert said["foreign"] == [str(other)]  # there, but not the folder of the scan
    assert said["unwritable"] == []
    assert list(here.iterdir()) == list(other.iterdir()) == []


def test_a_result_travels_to_the_bit(tmp_path: Path) -> None:
    case = case_of(tmp_path / "a.png")
    finding = Finding(
        case_id="im-1",
        kind="image",
        source="a.png",
        series_uid="",
        finding_id="f",
        label="scratch",
        probability=0.1 + 0.2,
        model="m@1",
    )
    result = CaseResult(case, "accept", "ok", "", "scratch", 1 / 3, (finding,), 0.7, 101.5)
    done = CaseDone(
        Entry(result, {"f": "data:"}), 77.25, is_final=False, budget_error=BudgetError(5, 2**30)
    )
    back = done_from(case, plain_of_done(done), max_bytes=5)
    assert back.entry.result == result
    assert (back.predicted_peak_mb, back.is_final) == (77.25, False)
    assert back.budget_error is not None
    assert back.budget_error.smallest_bytes == 2**30


@pytest.mark.parametrize(
    ("name", "scheduler", "workers", "message"),
    [
        ("local", "tcp://h:1", None, "--scheduler is for --engine dask"),
        ("local", None, 2, "--workers is for --engine dask"),
        ("dask", "tcp://h:1", 2, "--workers 2 starts workers on this machine"),
        ("dask", "nonsense://h:1", None, "'nonsense://h:1': an address has the form tcp://HOST"),
        ("dask", "127.0.0.1", None, "'127.0.0.1': an address has the form tcp://HOST:PORT"),
        ("dask", "127.0.0.1:9", None, "'127.0.0.1:9': Connection refused"),
    ],
)
def test_options_that_lead_nowhere_are_named(
    name: str, scheduler: str | None, workers: int | None, message: str
) -> None:
    with (
        pytest.raises(InputError, match=message.replace("(", r"\(")) as caught,
        open_engine(name, scheduler=scheduler, workers=workers),  # type: ignore[arg-type]
    ):
        pass
    assert caught.value.hint


def test_what_listens_but_is_no_scheduler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "CONNECT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with (
            pytest.raises(InputError, match=f"no dask scheduler answers at '{address}': timed out"),
            dask.dask_engine(address, workers=None),
        ):
            pass


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(ConfigError, match="is not installed") as caught,
        dask.dask_engine(None, workers=1),
    ):
        pass
    assert caught.value.hint == 'pip install "medvit[distributed]"'
