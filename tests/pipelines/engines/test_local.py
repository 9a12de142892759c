"""Images are worked on side by side, and nothing of the answers shows it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medvit.data.surface_phantom import make_surface
from medvit.geometry import affine_from
from medvit.io.writing.nifti import write_nifti
from medvit.workspace import Workspace
from pipelines.engines import local
from pipelines.engines.turns import Assignment, Turn
from pipelines.scan import ScanSettings, run
from pipelines.scanning.one_case import CaseDone
from tests.make.chest import make_chest
from tests.make.models import register_untrained

Rows = list[dict[str, str]]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "workspace")
    register_untrained(workspace.models)
    return workspace


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def write_images(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        pixels = make_surface(np.random.default_rng(number), number=number).pixels
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    return folder


def scanned(folder: Path, out: Path, workspace: Workspace) -> tuple[Rows, bytes]:
    run(ScanSettings(sources=(folder,), out=out), workspace=workspace)
    with (out / "cases.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        del row["seconds"], row["peak_rss_mb"]
    return rows, (out / "findings.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("threads")
def test_the_number_of_threads_changes_no_byte(workspace: Workspace, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", 12)
    (folder / "005.png").write_bytes((folder / "005.png").read_bytes()[:200])
    affine = affine_from((0, 0, 0), (0, 0, 2.5), (0, 2.5, 0), (2.5, 0, 0))
    write_nifti(make_chest((20, 40, 40), affine), folder / "006.nii.gz")
    answers = []
    for count in (1, 3):
        torch.set_num_threads(count)
        answers.append(scanned(folder, tmp_path / f"out{count}", workspace))
        assert torch.get_num_threads() == count
    assert answers[0] == answers[1]
    rows = answers[0][0]
    assert [row["source"] for row in rows] == sorted(row["source"] for row in rows)
    assert [row["reason"] for row in rows if row["source"] == "005.png"] == ["truncated"]


@pytest.mark.slow
@pytest.mark.usefixtures("threads")
def test_a_stopped_scan_keeps_what_was_done_and_goes_on(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(3)
    folder, begun = write_images(tmp_path / "images", 12), list[int]()
    whole = scanned(folder, tmp_path / "whole", workspace)
    scan_one = local._done

    def stop_at_the_eighth(turn: Turn, assignment: Assignment) -> CaseDone:
        begun.append(turn.number)
        if turn.number == 7:
            raise KeyboardInterrupt
        return scan_one(turn, assignment)

    with monkeypatch.context() as patch:
        patch.setattr(local, "_done", stop_at_the_eighth)
        with pytest.raises(KeyboardInterrupt):
            scanned(folder, tmp_path / "part", workspace)
    assert len(begun) <= 7 + 1 + 3 + 1  # with those beside it, and no more
    again = run(ScanSettings(sources=(folder,), out=tmp_path / "part"), workspace=workspace)
    assert again.resumed >= 7
    assert (tmp_path / "part" / "findings.csv").read_bytes() == whole[1]
