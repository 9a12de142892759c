"""Labels made elsewhere become decisions, and what readers agree on comes out again."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medvit.data.labels.formats import read_labels
from medvit.data.manifest import ManifestRow, write_manifest
from medvit.errors import NothingToDoError
from medvit.store.rows import CaseFilter
from medvit.store.store import Store
from medvit.workspace import Workspace
from pipelines.labels_import import ExportFormat, ExportSettings, ImportSettings, export, run
from pipelines.retraining.imported import read_imported
from pipelines.retraining.snapshot import home_of

COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
    "categories": [{"id": 1, "name": "dent"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 5, 10, 6]}],
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "set"
    images.mkdir()
    for name in ("a.png", "b.png"):
        grey = np.random.default_rng(len(name)).integers(0, 255, (30, 40), dtype=np.uint8)
        Image.fromarray(grey).save(images / name)
    return images


def test_a_manifest_becomes_decisions_once(folder: Path, workspace: Workspace) -> None:
    rows = [ManifestRow("a.png", "dent", "test", "g1"), ManifestRow("b.png", "rust", "train", "g2")]
    write_manifest(folder / "m.csv", rows)
    settings = ImportSettings(
        source=folder / "m.csv", out=folder.parent / "out.csv", reader="the lab"
    )
    first, again = run(settings, workspace), run(settings, workspace)
    assert (first.entered.cases, first.entered.decisions) == (2, 2)
    assert (again.entered.cases, again.entered.decisions) == (0, 0)
    with Store.open(workspace.store_url) as store:
        cases, _ = store.list_cases(CaseFilter())
        assert [(case.source, case.label_now, case.decided_by) for case in cases] == [
            ("a.png", "dent", "the lab"),
            ("b.png", "rust", "the lab"),
        ]
    places = read_imported(home_of(workspace, "defect"))
    assert sorted(places.values()) == [("test", "g1"), ("train", "g2")]


def test_a_changed_label_is_a_new_decision(folder: Path, workspace: Workspace) -> None:
    settings = ImportSettings(source=folder / "m.csv", out=folder.parent / "out.csv")
    for label in ("dent", "rust", "dent"):
        write_manifest(folder / "m.csv", [ManifestRow("a.png", label, "", "")])
        assert run(settings, workspace).entered.decisions == 1
    with Store.open(workspace.store_url) as store:
        assert store.list_cases(CaseFilter())[0][0].label_now == "dent"


@pytest.mark.parametrize("format_", ["manifest", "coco", "voc", "yolo"])
def test_what_came_in_goes_out(folder: Path, workspace: Workspace, format_: ExportFormat) -> None:
    (folder / "coco.json").write_text(json.dumps(COCO), encoding="utf-8")
    source, out = folder / "coco.json", folder.parent / f"out-{format_}"
    run(ImportSettings(source=source, out=folder.parent / "m.csv"), workspace)
    answer = export(ExportSettings(out=out, format=format_), workspace)
    assert (answer["images"], answer["boxes"]) == (1, 1)
    if format_ == "yolo":  # boxes relative to the image: 9/40, 8/30, 10/40, 6/30
        text = (out / "labels" / "a.txt").read_text(encoding="utf-8")
        assert [float(word) for word in text.split()] == pytest.approx(
            [0, 0.225, 0.8 / 3, 0.25, 0.2]
        )
        return
    images = folder if format_ == "voc" else None
    (image,) = (
        each for each in read_labels(out, format_=format_, images=images).images if each.row.label
    )
    assert Path(image.row.path).name == "a.png"
    if format_ != "manifest":
        (box,) = image.boxes
        assert (box.label, box.x_min, box.y_min, box.x_max, box.y_max) == ("dent", 4, 5, 14, 11)


def test_an_empty_store_has_nothing_to_export(tmp_path: Path, workspace: Workspace) -> None:
    workspace.prepare()
    with pytest.raises(NothingToDoError, match="the store holds no image that readers agree on"):
        export(ExportSettings(out=tmp_path / "x.json", format="coco"), workspace)


def test_nodules_of_a_table_come_out_as_they_went_in(tmp_path: Path, workspace: Workspace) -> None:
    import nibabel as nib

    scans = tmp_path / "scans"
    scans.mkdir()
    voxels = np.full((20, 20, 20), -800, np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([-1, -1, 1, 1])), scans / "one.nii.gz")  # type: ignore[no-untyped-call]
    table = scans / "annotations.csv"
    table.write_text(
        "seriesuid,coordX,coordY,coordZ,diameter_mm\none,3.5,4.25,5,6\n", encoding="utf-8"
    )
    settings = ImportSettings(source=scans, format="luna16", out=tmp_path / "m.csv", reader="lidc")
    assert run(settings, workspace).entered.decisions == 1
    assert run(settings, workspace).entered.decisions == 0
    export(ExportSettings(out=tmp_path / "o.csv", format="luna16"), workspace)
    with (tmp_path / "o.csv").open(encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    numbers = {"coordX": 3.5, "coordY": 4.25, "coordZ": 5, "diameter_mm": 6}
    assert {name: float(row[name]) for name in numbers} == numbers
