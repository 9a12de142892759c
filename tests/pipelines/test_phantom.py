"""`medvit phantom` writes what it says, the same for the same seed, and only where it is empty."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from medvit.data.manifest import read_manifest
from medvit.errors import InputError
from medvit.io.discover import discover
from medvit.io.triage import triage
from medvit.workspace import Workspace
from pipelines.phantom import PhantomSettings, run


def test_surfaces_come_with_a_manifest_boxes_and_a_run_record(tmp_path: Path) -> None:
    settings = PhantomSettings(out=tmp_path / "out", count=8, seed=1, kind="surface")
    told: list[float] = []
    summary = run(
        settings,
        workspace=Workspace(tmp_path / "ws"),
        progress=lambda done, total, _what: told.append(done / total),
    )
    assert len(read_manifest(tmp_path / "out" / "manifest.csv").rows) == summary.made == 8
    coco = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert len(coco["annotations"]) == summary.marks
    assert told[-1] == 1
    assert summary.run is not None
    record = json.loads((summary.run / "run.json").read_text())
    assert record["settings"]["seed"] == 1
    assert record["counts"]["made"] == 8


@pytest.mark.slow
def test_scans_are_accepted_and_annotations_name_their_series(tmp_path: Path) -> None:
    for name in ("one", "two"):
        run(PhantomSettings(out=tmp_path / name, count=1, seed=2, image_px=64))
    with (tmp_path / "one" / "annotations.csv").open() as file:
        rows = list(csv.DictReader(file))
    (case,) = discover(tmp_path / "one").cases
    assert triage(case).verdict == "accept"
    assert {row["seriesuid"] for row in rows} == {case.series_uid}
    for path in (tmp_path / "one").rglob("*.dcm"):
        twin = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert twin.read_bytes() == path.read_bytes()


def test_a_folder_that_holds_something_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(InputError, match="holds 1 entries"):
        run(PhantomSettings(out=tmp_path, kind="surface"))
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file"):
        run(PhantomSettings(out=tmp_path / "file", kind="surface"))


@pytest.mark.parametrize("wrong", [{"count": 0}, {"seed": -1}, {"kind": "mri"}, {"image_px": 8}])
def test_settings_have_bounds(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PhantomSettings.model_validate({"out": tmp_path, **wrong})
