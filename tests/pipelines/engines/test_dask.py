"""Scans by real workers, each a process of its own."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from distributed import Client, LocalCluster

from medvit.errors import InputError
from medvit.workspace import Workspace
from pipelines.scan import ScanSettings, ScanSummary, run
from pipelines.scanning.journal import FOLDER
from tests.make.dicom import CtSeries, write_series
from tests.make.models import register_untrained
from tests.make.raster import grey, write_image

pytestmark = pytest.mark.slow
IMAGES = 80
BEFORE_THE_KILL = 30
"""So many, and images go out several together."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:  # type: ignore[no-untyped-call]
        yield cluster


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(4)
    for number in range(IMAGES):
        pixels = np.roll(grey(), number, axis=1) // 2 + rng.integers(0, 60, (24, 32))
        write_image(folder / "scans" / f"{number:02d}.png", pixels.astype(np.uint8))
    write_series(folder / "scans" / "ct", CtSeries(series_uid="1.2.3"))
    (folder / "scans" / "empty.png").touch()  # refused, wherever it is looked at
    register_untrained(folder / "workspace" / "models")
    return folder


def scan(place: Path, out: str, **settings: object) -> ScanSummary:
    asked = ScanSettings.model_validate(
        {"sources": (place / "scans",), "out": place / out, **settings}
    )
    return run(asked, workspace=Workspace(place / "workspace"))


def kill_one_worker(cluster: LocalCluster, journal: Path, killed: list[int]) -> None:
    """Wait for some finished cases, then end a worker for good, as a lack of memory would."""
    until_s = time.monotonic() + 120
    while len(list(journal.glob("im-*.json"))) < BEFORE_THE_KILL and time.monotonic() < until_s:
        time.sleep(0.01)
    with Client(cluster, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        pid = next(iter(client.run(os.getpid).values()))
    os.kill(pid, signal.SIGKILL)
    killed.append(pid)


def test_a_worker_that_is_killed_loses_nothing_and_no_byte_differs(
    cluster: LocalCluster, place: Path
) -> None:
    alone = scan(place, "alone")
    killed: list[int] = []
    killer = threading.Thread(
        target=kill_one_worker, args=(cluster, place / "dask" / FOLDER, killed)
    )
    killer.start()
    many = scan(place, "dask", engine="dask", scheduler=cluster.scheduler_address)
    killer.join()
    assert len(killed) == 1
    engine = json.loads((place / "dask" / "run.json").read_text(encoding="utf-8"))["engine"]
    assert engine == {"name": "dask", "workers": 2, "lost_workers": 1}
    assert (many.cases, many.fail, many.partial, many.resumed) == (alone.cases, alone.fail, 0, 0)
    for table in ("findings.csv", "nodules.csv"):
        assert (place / "dask" / table).read_bytes() == (place / "alone" / table).read_bytes()
    assert (place / "dask" / "findings.csv").read_bytes().count(b"\n") > IMAGES
    # Either engine goes on with what the other has finished.
    again = scan(place, "dask")
    assert again.resumed == many.cases


def test_workers_that_cannot_do_it_are_named_before_the_first_case(
    cluster: LocalCluster, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = cluster.scheduler_address
    monkeypatch.setattr("pipelines.engines.crew.KILLED_AT_SHARE", 1e-6)
    with pytest.raises(InputError, match=r"is ended by dask at \d+ MiB, but --max-ram allows"):
        scan(place, "tight", engine="dask", scheduler=address, max_ram_bytes=2**32)
    assert not list((place / "tight" / FOLDER).glob("*.json"))
