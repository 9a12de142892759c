from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from apps.cli.exit_codes import ExitCode
from medvit.geometry import affine_from
from medvit.inference.nodules import Nodule
from medvit.io.case import Case
from medvit.io.discover import discover
from medvit.io.scratch import Scratch
from medvit.io.writing.nifti import write_nifti
from medvit.workspace import Workspace
from pipelines.scanning.detectors import Detector, load_detectors
from pipelines.scanning.journal import tiles_folder
from pipelines.scanning.limits import Limits
from pipelines.scanning.one_case import CaseDone, scan_case
from pipelines.scanning.workbench import CaseWatch, Workbench
from tests.apps.cli.conftest import Medvit
from tests.make.chest import Ball, make_chest
from tests.make.raster import grey, write_image

GIB = 2**30


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for number in range(3):
        write_image(folder / f"{number}.png", np.roll(grey(), 5 * number, axis=1))
    return folder


@pytest.fixture
def chest(tmp_path: Path) -> Path:
    folder = tmp_path / "chest"
    folder.mkdir()
    # A part of a chest around the right lung, so that a search has few tiles.
    affine = affine_from((-138.1, -93.1, -36.2), (0, 0, 2.5), (0, 2.5, 0), (2.5, 0, 0))
    balls = (Ball((-72.3, 10.2, -4.6), 12.0), Ball((-50.0, -40.4, 12.9), 9.0))
    write_nifti(make_chest((30, 75, 55), affine, balls=balls), folder / "chest.nii.gz")
    return folder


def cases(out: Path) -> list[dict[str, str]]:
    with (out / "cases.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("size", ["lots", "-2G", "0", "2X", "1e9"])
def test_a_size_that_is_none_is_named(
    medvit: Medvit, images: Path, tmp_path: Path, size: str
) -> None:
    answer = medvit("scan", images, "--out", tmp_path / "out", f"--max-ram={size}", "--json")
    assert answer.code == ExitCode.UNUSABLE
    assert repr(size) in answer.message
    assert "2GiB" in answer.payload["error"]["hint"]


@pytest.mark.parametrize("folder", ["images", "chest"])
def test_too_small_a_budget_is_refused_with_one_that_does(
    medvit: Medvit, tmp_path: Path, request: pytest.FixtureRequest, folder: str
) -> None:
    source = request.getfixturevalue(folder)
    out = tmp_path / "out"
    answer = medvit("scan", source, "--out", out, "--max-ram", "100M", "--json")
    assert answer.code == ExitCode.UNUSABLE
    assert "100 MiB" in answer.message
    assert re.search(r"--max-ram \d+M or more", answer.payload["error"]["hint"])
    assert not out.exists()


def test_what_a_deadline_keeps_from_its_turn_is_a_row_and_comes_later(
    medvit: Medvit, images: Path, tmp_path: Path
) -> None:
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    answer = medvit("scan", images, "--out", out, "--deadline", "0.001", "--json")
    assert answer.code == ExitCode.SOME_FAILED
    assert (answer.payload["cases"], answer.payload["partial"]) == (3, 3)
    assert {row["reason"] for row in cases(out)} == {"not_reached"}
    assert medvit("scan", images, "--out", out, "--json").code == 0
    assert medvit("scan", images, "--out", undisturbed, "--json").code == 0
    findings = [(folder / "findings.csv").read_bytes() for folder in (out, undisturbed)]
    assert findings[0] == findings[1]


class Clock(Limits):
    """Limits whose time is up after some tiles."""

    __slots__ = ("left",)
    left: Iterator[bool]

    @classmethod
    def after(cls, tiles: int) -> Clock:
        clock = cls(64 * GIB)
        object.__setattr__(clock, "left", iter([False] * (tiles - 1) + [True] * 1000))
        return clock

    def is_time_up(self) -> bool:
        return next(self.left)


@pytest.fixture
def case(chest: Path) -> Case:
    return discover(chest).cases[0]


@pytest.fixture
def detector(workspace: Path) -> Detector:
    place = Workspace(workspace)
    return load_detectors({"ct"}, None, device=torch.device("cpu"), workspace=place)["ct"]


def scanned(
    case: Case, detector: Detector, folder: Path, limits: Limits, told: list[Nodule] | None = None
) -> CaseDone:
    run = folder / "run"
    run.mkdir(parents=True, exist_ok=True)
    scratch = Scratch.below(folder / "cache")
    bench = Workbench(run, tiles_folder(folder), limits, scratch, folder / "costs")
    sink = [] if told is None else told
    watch = CaseWatch(lambda _share: None, sink.extend)
    return scan_case(case, detector, bench, key="one", watch=watch)


@pytest.mark.slow
def test_a_case_whose_time_is_up_is_partial_and_goes_on_to_the_same_findings(
    case: Case, detector: Detector, tmp_path: Path
) -> None:
    whole = scanned(case, detector, tmp_path / "whole", Limits(64 * GIB))
    assert whole.is_final
    told: list[Nodule] = []
    part = scanned(case, detector, tmp_path / "part", Clock.after(2), told)
    assert not part.is_final
    assert part.entry.result.verdict == "accept"
    assert part.entry.result.reason == "partial"
    assert "time was up after 2 of" in part.entry.result.message
    assert (tiles_folder(tmp_path / "part") / f"{case.case_id}.tiles").exists()
    rest = scanned(case, detector, tmp_path / "part", Limits(64 * GIB))
    assert rest.is_final
    assert rest.entry.result.findings == whole.entry.result.findings
    assert rest.entry.result.findings
    assert not list(tiles_folder(tmp_path / "part").iterdir())


@pytest.mark.slow
def test_less_memory_gives_the_same_findings(
    case: Case, detector: Detector, tmp_path: Path
) -> None:
    large = scanned(case, detector, tmp_path / "large", Limits(64 * GIB))
    error = scanned(case, detector, tmp_path / "none", Limits(1)).budget_error
    assert error is not None
    small = scanned(case, detector, tmp_path / "small", Limits(error.smallest_bytes + 64 * 2**20))
    assert small.budget_error is None
    assert small.entry.result.findings == large.entry.result.findings
    assert replace(small.entry.result, seconds=0, peak_rss_mb=0) == replace(
        large.entry.result, seconds=0, peak_rss_mb=0
    )


@pytest.mark.slow
def test_a_spoiled_pyramid_and_spoiled_tiles_change_nothing(
    case: Case, detector: Detector, tmp_path: Path
) -> None:
    whole = scanned(case, detector, tmp_path / "whole", Limits(64 * GIB))
    scanned(case, detector, tmp_path / "part", Clock.after(3))
    tiles = tiles_folder(tmp_path / "part") / f"{case.case_id}.tiles"
    stored = bytearray(tiles.read_bytes())
    stored[len(stored) // 2] ^= 0xFF
    tiles.write_bytes(stored)
    shards = list((tmp_path / "part/cache/pyramids").rglob("c/*/*/*"))
    assert shards
    for shard in shards:
        shard.write_bytes(shard.read_bytes()[:-40])
    rest = scanned(case, detector, tmp_path / "part", Limits(64 * GIB))
    assert rest.entry.result.findings == whole.entry.result.findings
