"""A scan that is killed goes on, and gives what an uninterrupted one gives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medvit.geometry import affine_from
from medvit.io.writing.nifti import write_nifti
from pipelines.scanning.journal import FOLDER
from tests.make.chest import Ball, make_chest
from tests.make.dicom import CtSeries, write_series
from tests.make.models import register_untrained
from tests.make.raster import grey, write_image

pytestmark = pytest.mark.slow
IMAGES = 60


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    rng = np.random.default_rng(4)
    for number in range(IMAGES):
        pixels = np.roll(grey(), number, axis=1) // 2 + rng.integers(0, 60, (24, 32))
        write_image(folder / "images" / f"{number:02d}.png", pixels.astype(np.uint8))
    for number in range(3):
        write_series(folder / f"ct-{number}", CtSeries(series_uid=f"1.2.3.{number}"))
    return folder


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    register_untrained(folder / "models")
    return folder


Start = Callable[[Path], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(samples: Path, workspace: Path) -> Start:
    def begin(out: Path) -> subprocess.Popen[bytes]:
        words = ["scan", str(samples), "--out", str(out), "--workspace", str(workspace), "--quiet"]
        return subprocess.Popen([sys.executable, "-m", "apps.cli", *words], env=dict(os.environ))

    return begin


@pytest.fixture(scope="module")
def expected(samples: Path, workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return `findings.csv` of a scan that nobody disturbed."""
    out = tmp_path_factory.mktemp("undisturbed")
    words = ["scan", str(samples), "--out", str(out), "--workspace", str(workspace), "--quiet"]
    subprocess.run([sys.executable, "-m", "apps.cli", *words], check=True, timeout=300)
    return (out / "findings.csv").read_bytes()


def wait_for_entries(out: Path, count: int, process: subprocess.Popen[bytes]) -> int:
    """Wait until a scan has finished some cases; return how many."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        entries = len(list((out / FOLDER).glob("*.json")))
        if entries >= count or process.poll() is not None:
            return entries
        time.sleep(0.002)
    pytest.fail(f"no {count} finished cases in 240 s")


def test_killed_twice_then_resumed_gives_the_same_bytes(
    start: Start, expected: bytes, tmp_path: Path
) -> None:
    done = 0
    for wanted in (3, 20):
        process = start(tmp_path)
        done = wait_for_entries(tmp_path, wanted, process)
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
        assert not (tmp_path / "findings.csv").exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / FOLDER).glob("*.json")}
    assert done <= len(kept) < IMAGES + 3
    assert start(tmp_path).wait(300) == 0
    assert (tmp_path / "findings.csv").read_bytes() == expected
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # finished cases were skipped


def test_terminated_politely_it_says_130_and_goes_on(
    start: Start, expected: bytes, tmp_path: Path
) -> None:
    process = start(tmp_path)
    wait_for_entries(tmp_path, 3, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    assert start(tmp_path).wait(300) == 0
    assert (tmp_path / "findings.csv").read_bytes() == expected


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chest")
    affine = affine_from((-138.1, -93.1, -36.2), (0, 0, 2.5), (0, 2.5, 0), (2.5, 0, 0))
    balls = (Ball((-72.3, 10.2, -4.6), 12.0), Ball((-50.0, -40.4, 12.9), 9.0))
    write_nifti(make_chest((30, 75, 55), affine, balls=balls), folder / "chest.nii.gz")
    return folder


def test_killed_at_ten_moments_inside_one_case_it_still_gives_the_same_bytes(
    chest: Path, workspace: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(20)

    def start(out: Path, place: Path) -> subprocess.Popen[bytes]:
        words = ["scan", str(chest), "--out", str(out), "--workspace", str(place), "--quiet"]
        return subprocess.Popen([sys.executable, "-m", "apps.cli", *words], env=dict(os.environ))

    began = time.monotonic()
    assert start(tmp_path / "whole", workspace).wait(400) == 0
    whole_s = time.monotonic() - began
    place = tmp_path / "workspace"  # so that the pyramid, too, is made under fire
    register_untrained(place / "models")
    kills = 0
    for _ in range(10):
        process = start(tmp_path / "out", place)
        try:
            process.wait(rng.uniform(0.05, 0.9) * whole_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += process.wait(30) == -signal.SIGKILL
    assert kills > 0
    assert start(tmp_path / "out", place).wait(400) == 0
    for table in ("findings.csv", "nodules.csv"):
        resumed, whole = ((tmp_path / name / table).read_bytes() for name in ("out", "whole"))
        assert resumed == whole
        assert whole.count(b"\n") > 1
