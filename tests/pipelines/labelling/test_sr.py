"""What readers agree on comes out as DICOM SR, scan by scan, and says what is left out."""

from __future__ import annotations

import csv
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage

from medvit.errors import InputError, NothingToDoError
from medvit.workspace import Workspace
from pipelines.labels_import import ExportSettings, export
from tests.make.dicom import CtSeries, ramp, write_series
from tests.make.dicom_out import CUBE, errors_in, point_in
from tests.make.nifti import write_nifti
from tests.make.reviewed_scans import DIAMETER_MM, PLACES, Ward, build_ward, enter_ward, finding_of

MOVED = point_in(CUBE, (6, 16, 13))
MISSED = point_in(CUBE, (10, 6, 20))


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    return build_ward(tmp_path)


def export_to(out: Path, ward: Ward) -> dict[str, Any]:
    return export(ExportSettings(out=out, format="sr"), ward.workspace)


def groups_of(path: Path) -> dict[str, Dataset]:
    """Return the measurement groups of a report by tracking identifier."""
    (measurements,) = (
        item for item in pydicom.dcmread(path).ContentSequence if item.ValueType == "CONTAINER"
    )
    return {item_of(group, "112039").TextValue: group for group in measurements.ContentSequence}


def item_of(group: Dataset, code: str) -> Dataset:
    (found,) = (
        item for item in group.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == code
    )
    assert isinstance(found, Dataset)
    return found


def sphere_of(group: Dataset) -> list[float]:
    """Return x, y, z in LPS mm and the diameter in mm."""
    centre = item_of(group, "111010").GraphicData
    diameter = item_of(group, "81827009").MeasuredValueSequence[0].NumericValue
    return [*map(float, centre), float(diameter)]


def review(ward: Ward, case: str = "ct") -> None:
    """Accept a, move b, reject c, leave d unsure; add what was missed."""
    ward.decide(case, "a", "accept")
    ward.decide(case, "b", "adjust", sphere=(MOVED, 9.5))
    ward.decide(case, "c", "reject")
    ward.decide(case, "d", "unsure")
    ward.decide(case, "", "add", label="nodule", sphere=(MISSED, 4.0))


def test_a_series_gets_one_report_of_what_stands(ward: Ward, tmp_path: Path) -> None:
    review(ward)
    case, out = ward.cases["ct"], tmp_path / "out"
    answer = export_to(out, ward)
    name = f"{case.case_id}.dcm"
    assert (answer["images"], answer["boxes"], answer["left_out"]) == (1, 3, [])
    assert answer["written"] == [name] == [path.name for path in out.iterdir()]
    groups = groups_of(out / name)
    assert len(groups) == 3
    assert {finding_of(case, each) for each in "ab"} < set(groups)
    assert not {finding_of(case, each) for each in "cd"} & set(groups)
    accepted, moved = (sphere_of(groups.pop(finding_of(case, each))) for each in "ab")
    assert accepted == pytest.approx([*PLACES["a"], DIAMETER_MM], abs=1e-3)
    assert moved == pytest.approx([*MOVED, 9.5], abs=1e-3)
    (added,) = groups.values()
    assert sphere_of(added) == pytest.approx([*MISSED, 4.0], abs=1e-3)
    assert errors_in((out / name).read_bytes(), tmp_path) == []


def test_a_report_refers_to_the_images_of_its_series_and_names_nobody(
    ward: Ward, tmp_path: Path
) -> None:
    for reader in ("Quill", "Nib"):
        ward.decide("ct", "a", "accept", reader=reader)
    (name,) = export_to(tmp_path / "out", ward)["written"]
    content = (tmp_path / "out" / name).read_bytes()
    report = pydicom.dcmread(tmp_path / "out" / name)
    assert report.SOPClassUID == Comprehensive3DSRStorage
    assert report.StudyInstanceUID == CUBE.series_uid + ".1"
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == CUBE.series_uid
    written = {pydicom.dcmread(path).SOPInstanceUID for path in ward.cases["ct"].files}
    assert {each.ReferencedSOPInstanceUID for each in series.ReferencedSOPSequence} == written
    for secret in (b"Secret", b"SECRET", b"Quill", b"Nib"):
        assert secret not in content, secret


def test_the_report_holds_what_the_luna16_table_holds(ward: Ward, tmp_path: Path) -> None:
    review(ward)
    ward.decide("ct", "c", "accept", reader="ben")  # against ann: nobody agrees
    ward.decide("ct", "a", "relabel", reader="ben", label="ground-glass nodule")
    ward.decide("ct", "d", "relabel", reader="ben", label="vessel")
    (name,) = export_to(tmp_path / "out", ward)["written"]
    table = tmp_path / "nodules.csv"
    export(ExportSettings(out=table, format="luna16"), ward.workspace)
    with table.open(encoding="utf-8") as stream:
        rows = [
            [float(v) for k, v in row.items() if k != "seriesuid"] for row in csv.DictReader(stream)
        ]
    spheres = sorted(map(sphere_of, groups_of(tmp_path / "out" / name).values()))
    assert len(rows) == 3
    for sphere, row in zip(spheres, rows, strict=True):
        assert sphere == pytest.approx(row, abs=1e-3)


def test_scans_that_are_no_dicom_or_gone_are_left_out_and_named(ward: Ward, tmp_path: Path) -> None:
    write_nifti(ward.scans / "volume.nii.gz", ramp((26, 30, 12)))
    write_series(ward.scans / "lost", CtSeries(hu=CUBE.hu, series_uid="1.2.3.7"))
    ward = enter_ward(ward.scans, ward.workspace)
    for case in ("ct", "volume.nii.gz", "lost"):
        ward.decide(case, "a", "accept")
    shutil.rmtree(ward.scans / "lost")
    answer = export_to(tmp_path / "out", ward)
    assert (answer["images"], answer["boxes"]) == (1, 1)
    assert answer["written"] == [f"{ward.cases['ct'].case_id}.dcm"]
    told = {each["source"]: each for each in answer["left_out"]}
    assert {name: each["case_id"] for name, each in told.items()} == {
        name: ward.cases[name].case_id for name in ("lost", "volume.nii.gz")
    }
    assert told["volume.nii.gz"]["reason"] == "no_reference"
    assert "not DICOM" in told["volume.nii.gz"]["message"]
    assert told["lost"]["reason"] == "unreadable"
    assert told["lost"]["message"] == "lost: 12 of its 12 files are gone"
    assert [path.name for path in (tmp_path / "out").iterdir()] == answer["written"]


def test_another_series_in_the_same_place_is_not_taken_for_the_one_that_was_read(
    ward: Ward, tmp_path: Path
) -> None:
    ward.decide("ct", "a", "accept")
    write_series(ward.scans / "ct", CtSeries(hu=CUBE.hu, series_uid="1.2.3.8"))
    with pytest.raises(NothingToDoError, match="another series lies there now"):
        export_to(tmp_path / "out", ward)


def test_a_series_in_an_archive_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    write_series(folder, CUBE)
    (tmp_path / "scans").mkdir()
    with zipfile.ZipFile(tmp_path / "scans" / "a.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    ward = enter_ward(tmp_path / "scans", Workspace(tmp_path / "workspace"))
    ward.decide("a.zip", "a", "accept")
    assert export_to(tmp_path / "out", ward)["boxes"] == 1
    (ward.scans / "a.zip").unlink()
    with pytest.raises(NothingToDoError, match=r"a\.zip: 12 of its 12 files are gone"):
        export_to(tmp_path / "out", ward)


def test_a_report_of_what_readers_took_back_does_not_stay(ward: Ward, tmp_path: Path) -> None:
    write_series(ward.scans / "next", CtSeries(hu=CUBE.hu, series_uid="1.2.3.9"))
    ward = enter_ward(ward.scans, ward.workspace)
    out = tmp_path / "out"
    for case in ("ct", "next"):
        ward.decide(case, "a", "accept")
    first = export_to(out, ward)
    kept = (out / f"{ward.cases['ct'].case_id}.dcm").read_bytes()
    (out / "notes.txt").write_text("of somebody else")
    ward.decide("next", "a", "undo")
    second = export_to(out, ward)
    assert (len(first["written"]), len(second["written"])) == (2, 1)
    assert {path.name for path in out.iterdir()} == {"notes.txt", *second["written"]}
    assert (out / second["written"][0]).read_bytes() == kept


def test_nothing_agreed_is_nothing_to_do_and_makes_no_folder(ward: Ward, tmp_path: Path) -> None:
    ward.decide("ct", "a", "reject")
    with pytest.raises(NothingToDoError, match="the store holds no nodule that readers agree on"):
        export_to(tmp_path / "out", ward)
    assert not (tmp_path / "out").exists()


def test_volumes_alone_are_nothing_to_do_with_the_reason(tmp_path: Path) -> None:
    write_nifti(tmp_path / "scans" / "volume.nii.gz", ramp((26, 30, 12)))
    ward = enter_ward(tmp_path / "scans", Workspace(tmp_path / "workspace"))
    ward.decide("volume.nii.gz", "a", "accept")
    with pytest.raises(NothingToDoError, match=r"any of the 1 scans .*: not DICOM"):
        export_to(tmp_path / "out", ward)
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way_of_the_folder_is_named(ward: Ward, tmp_path: Path) -> None:
    ward.decide("ct", "a", "accept")
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(InputError, match="out cannot be written: File exists"):
        export_to(tmp_path / "out", ward)


def test_reports_are_not_made_from_a_file_of_labels(ward: Ward, tmp_path: Path) -> None:
    settings = ExportSettings(out=tmp_path / "out", format="sr", source=tmp_path / "labels.json")
    with pytest.raises(InputError, match="sr is written from the store"):
        export(settings, ward.workspace)
