"""`medvit phantom` writes what it says, the same for the same seed, and only where it is empty."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from medvit.data.manifest import read_manifest
from medvit.data.nodule_spec import KINDS
from medvit.errors import ConfigError, InputError
from medvit.io.discover import discover
from medvit.io.triage import triage
from medvit.workspace import Workspace
from pipelines.phantom import PhantomSettings, parse_kinds, run
from pipelines.phantom_log import ANNOTATIONS, DISTRACTORS, LOG, NODULES


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


@pytest.mark.slow
def test_a_run_that_was_cut_off_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    def settings(out: str, count: int = 2) -> PhantomSettings:
        return PhantomSettings(
            out=tmp_path / out,
            count=count,
            seed=5,
            image_px=64,
            slice_mm=5,
            nodules=2,
            nodule_kinds=("calcified",),
        )

    def cut_off(done: float, _total: float, _what: str) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(settings("cut"), progress=cut_off)
    assert not (tmp_path / "cut" / ANNOTATIONS).exists()
    with (tmp_path / "cut" / LOG).open("a") as file:
        file.write('{"series_uid": "1.2')  # a line that the cut left half written
    (tmp_path / "cut" / ".ct-002").mkdir()
    assert run(settings("cut")).resumed == 1
    assert run(settings("whole", count=1)).resumed == 0
    assert run(settings("whole", count=2)).resumed == 1  # more of the same
    names = sorted(path.relative_to(tmp_path / "cut") for path in (tmp_path / "cut").rglob("*.*"))
    assert names == sorted(
        p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole").rglob("*.*")
    )
    for name in (each for each in names if (tmp_path / "cut" / each).is_file()):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with (tmp_path / "whole" / NODULES).open() as file:
        rows = list(csv.DictReader(file))
    assert {row["kind"] for row in rows} == {"calcified"}
    assert len(rows) == 4
    assert len((tmp_path / "whole" / DISTRACTORS).read_text().splitlines()) == 5
    with pytest.raises(InputError, match=r"slice_mm=5\.0, not 3\.0"):
        run(settings("whole").model_copy(update={"slice_mm": 3.0}))
    with pytest.raises(InputError, match="holds 2 scans already, 1 were asked for"):
        run(settings("whole", count=1))


def test_a_disk_that_is_too_small_is_named_before_anything_is_made(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"100000 of kind ct need about \d+\.\d GB") as caught:
        run(PhantomSettings(out=out, count=100_000, image_px=1024, slice_mm=0.5))
    assert "--count" in caught.value.hint
    assert not list(out.iterdir())


def test_options_of_scans_are_refused_for_images(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="slice_mm is an option of CT"):
        run(PhantomSettings(out=tmp_path / "out", kind="surface", slice_mm=2.0))
    assert not (tmp_path / "out").exists()


def test_a_kind_that_there_is_not_is_named() -> None:
    assert parse_kinds("") == KINDS
    with pytest.raises(ConfigError, match="got 'solidd'"):
        parse_kinds("calcified,solidd")


def test_a_folder_that_holds_something_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    for kind in ("surface", "ct"):
        with pytest.raises(InputError, match="holds 1 entries"):
            run(PhantomSettings.model_validate({"out": tmp_path, "kind": kind}))
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file"):
        run(PhantomSettings(out=tmp_path / "file", kind="surface"))


@pytest.mark.parametrize(
    "wrong", [{"count": 0}, {"seed": -1}, {"kind": "mri"}, {"image_px": 8}, {"slice_mm": 0.3}]
)
def test_settings_have_bounds(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PhantomSettings.model_validate({"out": tmp_path, **wrong})
