"""`medvit scan --write sr,seg` and `medvit check-identity`, as a user types them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medvit.report.dicom_evidence import Evidence
from medvit.report.dicom_sr import build_sr
from tests.apps.cli.conftest import Medvit
from tests.make.dicom import CtSeries, ct_slice, edit, ramp, save, truncate, write_series
from tests.make.dicom_out import errors_in
from tests.make.nifti import write_nifti
from tests.make.raster import grey, write_image

SERIES = CtSeries(hu=ramp((6, 20, 18)), spacing_mm=(2.0, 0.8, 0.8), series_uid="1.2.3.4")


def chest() -> CtSeries:
    """Return a body of soft tissue with air in it, in which an untrained detector finds much."""
    hu = np.full((12, 40, 40), -1000, np.int16)
    hu[:, 3:-3, 3:-3] = 40
    hu[1:-1, 10:-10, 10:-10] = -850
    return CtSeries(hu=hu, spacing_mm=(2.5, 2.0, 2.0), series_uid="1.2.3.9")


def dicom_files(out: Path) -> dict[str, bytes]:
    found = sorted((out / "dicom").rglob("*.dcm"))
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}


def left_out(out: Path) -> list[dict[str, str]]:
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert set(record["dicom"]) == {"sr", "seg", "left_out"}
    found = record["dicom"]["left_out"]
    assert isinstance(found, list)
    return found


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    write_series(tmp_path / "in" / "ct", SERIES)
    return tmp_path / "in"


@pytest.mark.slow
def test_a_series_gets_its_report_and_segmentation(medvit: Medvit, tmp_path: Path) -> None:
    scans = tmp_path / "in"
    write_series(scans / "ct", chest())
    out = tmp_path / "out"
    answer = medvit("scan", scans, "--out", out, "--write", "sr,seg", "--json")
    assert (answer.code, answer.payload["sr"], answer.payload["seg"]) == (0, 1, 1)
    rows = (out / "findings.csv").read_text(encoding="utf-8").splitlines()
    case_id = rows[1].split(",")[0]
    files = dicom_files(out)
    assert list(files) == [f"dicom/{case_id}/seg.dcm", f"dicom/{case_id}/sr.dcm"]
    for content in files.values():
        assert errors_in(content, tmp_path) == []
    seg = hd.seg.segread(out / "dicom" / case_id / "seg.dcm")
    assert seg.number_of_segments == answer.payload["findings"]
    ids = {seg.get_segment_description(n).tracking_id for n in seg.segment_numbers}
    assert ids == {row.split(",")[4] for row in rows[1:]}
    assert left_out(out) == []
    people = medvit("scan", scans, "--out", out, "--write", "sr,seg")  # from the journal
    assert f"DICOM: 1 SR, 1 SEG in {out / 'dicom'}" in people.stdout
    assert dicom_files(out) == files
    checked = medvit("check-identity", out, "--source", scans, "--json")
    assert (checked.code, checked.payload["leaks"]) == (0, [])


@pytest.mark.slow
def test_a_resumed_scan_writes_the_same_bytes(medvit: Medvit, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("scan", scans, "--out", out, "--write", "sr,seg", "--json")
    medvit(*words)
    first = dicom_files(out)
    for name in first:
        (out / name).unlink()
    again = medvit(*words)
    assert again.payload["resumed"] == 1
    assert dicom_files(out) == first
    other = tmp_path / "other"
    medvit("scan", scans, "--out", other, "--write", "seg")
    medvit("scan", scans, "--out", other, "--write", "sr,seg")
    assert dicom_files(other) == first


def test_what_cannot_have_dicom_is_told(medvit: Medvit, scans: Path, tmp_path: Path) -> None:
    write_nifti(scans / "volume.nii.gz", ramp((20, 18, 6)))
    truncated = write_series(scans / "broken", CtSeries(series_uid="1.2.3.5"))
    truncate(truncated[2])
    write_image(scans / "image.png", grey())
    out = tmp_path / "out"
    answer = medvit("scan", scans, "--out", out, "--write", "sr", "--json")
    assert (answer.code, answer.payload["sr"], answer.payload["without_dicom"]) == (4, 1, 1)
    (entry,) = left_out(out)
    assert (entry["source"], entry["kind"], entry["reason"]) == (
        "volume.nii.gz",
        "sr",
        "no_reference",
    )
    assert "there is no series that SR or SEG could refer to" in entry["message"]
    assert len(dicom_files(out)) == 1
    people = medvit("scan", scans, "--out", out, "--write", "sr")
    assert "1 cases got no SR or SEG: see left_out in" in people.stdout


def test_a_segmentation_that_is_no_longer_due_is_removed(
    medvit: Medvit, scans: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("scan", scans, "--out", out, "--write", "sr,seg", "--json")
    medvit(*words)
    (report,) = (out / "dicom").rglob("sr.dcm")
    (report.parent / "seg.dcm").write_bytes(b"of an earlier model")
    assert medvit(*words).payload["seg"] == 0
    assert list(report.parent.iterdir()) == [report]


def test_a_fault_of_our_own_costs_the_files_of_one_case(
    medvit: Medvit, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(scans / "next", CtSeries(series_uid="1.2.3.6"))

    def faulty(evidence: Evidence, *details: Any) -> bytes:
        if evidence.series_uid == SERIES.series_uid:
            raise KeyError(details)
        return build_sr(evidence, *details)

    monkeypatch.setattr("medvit.report.dicom_sr.build_sr", faulty)
    out = tmp_path / "out"
    answer = medvit("scan", scans, "--out", out, "--write", "sr", "--json")
    assert (answer.code, answer.payload["internal_errors"], answer.payload["sr"]) == (1, 1, 1)
    assert answer.payload["fail"] == 0
    (entry,) = left_out(out)
    assert (entry["source"], entry["reason"]) == ("ct", "internal_error")
    log = Path(answer.payload["run"]) / "errors.log"
    assert "KeyError" in log.read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_written_ends_the_scan(
    medvit: Medvit, scans: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "dicom").write_text("a file in the way")
    answer = medvit("scan", scans, "--out", out, "--write", "sr", "--json")
    assert answer.code == 2
    assert "cannot be written" in answer.message


def test_identity_is_kept_on_demand_and_only_then(
    medvit: Medvit, scans: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("scan", scans, "--out", out, "--write", "sr,seg", "--json")
    medvit(*words, "--keep-identity")
    named = dicom_files(out)
    assert all(b"Secret^Person" in content for content in named.values())
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert record["settings"]["keep_identity"] is True
    checked = medvit("check-identity", out, "--source", scans, "--json")
    assert checked.code == 6
    leaks = checked.payload["leaks"]
    assert {leak["file"] for leak in leaks} == set(named)
    assert {leak["keyword"] for leak in leaks} == {"PatientName", "PatientID"}
    medvit(*words)
    assert all(b"Secret" not in content for content in dicom_files(out).values())
    assert medvit("check-identity", out, "--source", scans, "--json").code == 0
    note = medvit("scan", scans, "--out", out, "--keep-identity").stderr
    assert "--keep-identity changes nothing without --write sr or seg" in note


def test_a_scan_leaks_nothing_anywhere(
    medvit: Medvit, scans: Path, workspace: Path, tmp_path: Path
) -> None:
    for path in (scans / "ct").iterdir():
        edit(path, PatientBirthDate="19701231", ReferringPhysicianName="House^Gregory")
    broken = write_series(scans / "broken", CtSeries(series_uid="1.2.3.5"))
    edit(broken[1], ImagePositionPatient=None)
    out = tmp_path / "out"
    words = ("--write", "luna16,sr,seg", "--json")
    answer = medvit("scan", scans, "--out", out, *words)
    for folder in (out, Path(answer.payload["run"]), workspace / "store.db"):
        checked = medvit("check-identity", folder, "--source", scans, "--json")
        assert (checked.code, checked.payload["leaks"]) == (0, []), folder
        assert checked.payload["values_checked"] == 4
        assert checked.payload["files_checked"] >= 1
    said = (answer.stdout + answer.stderr).lower()
    assert not [word for word in ("secret", "house", "gregory", "19701231") if word in said]


def test_a_planted_name_is_told_without_itself(medvit: Medvit, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    medvit("scan", scans, "--out", out)
    journal = next((out / ".journal").glob("*.json"))
    journal.write_text(journal.read_text(encoding="utf-8") + '"SECRET PERSON"', encoding="utf-8")
    (out / "Secret-Person").mkdir()
    (out / "Secret-Person" / "note.txt").write_text("nothing")
    answer = medvit("check-identity", out, "--source", scans)
    assert answer.code == 6
    assert f".journal/{journal.name}: PatientName, 1x, first: byte" in answer.stdout
    assert "***/note.txt: PatientName, 1x, first: the name of the file" in answer.stdout
    assert "secret" not in (answer.stdout + answer.stderr).lower()


def test_a_folder_named_for_the_patient_is_a_leak(medvit: Medvit, tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "secret_person" / "ct", SERIES)
    out = tmp_path / "out"
    medvit("scan", tmp_path / "in", "--out", out)
    answer = medvit("check-identity", out, "--source", tmp_path / "in", "--json")
    assert answer.code == 6
    assert {"cases.csv", "report.html"} <= {leak["file"] for leak in answer.payload["leaks"]}


def test_answers_beside_the_scans_are_kept_apart_from_them(medvit: Medvit, scans: Path) -> None:
    out = scans / "out"
    medvit("scan", scans / "ct", "--out", out, "--write", "sr")
    inside = medvit("check-identity", out, "--source", scans, "--json")
    assert (inside.code, inside.payload["values_checked"]) == (0, 2)
    around = medvit("check-identity", scans, "--source", scans / "ct", "--json")
    assert (around.code, around.payload["leaks"]) == (0, [])


def test_a_file_that_breaks_off_is_told(medvit: Medvit, scans: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.gz").write_bytes(b"\x1f\x8b\x08 broken")
    answer = medvit("check-identity", tmp_path / "out", "--source", scans, "--json")
    assert (answer.code, answer.payload["unreadable"]) == (4, ["a.gz"])


@pytest.mark.parametrize(
    ("run", "source", "code", "message"),
    [
        ("in", "gone", 2, "gone: no such file or folder"),
        ("gone", "in", 2, "gone: no such file or folder"),
        ("in", "images", 3, "no value that could be looked for, 0 too short or too common"),
    ],
)
def test_paths_that_cannot_be_checked_are_named(
    medvit: Medvit, scans: Path, run: str, source: str, code: int, message: str
) -> None:
    folder = scans.parent
    write_image(folder / "images" / "a.png", np.zeros((4, 4), np.uint8))
    answer = medvit("check-identity", folder / run, "--source", folder / source, "--json")
    assert answer.code == code
    assert message in answer.message


def test_scans_are_read_through_archives(medvit: Medvit, scans: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    with zipfile.ZipFile(packed / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in (scans / "ct").iterdir():
            archive.write(path, path.name)
    note = tmp_path / "note.txt"
    note.write_text("of secret-id")
    answer = medvit("check-identity", note, "--source", packed, "--json")
    keywords = [leak["keyword"] for leak in answer.payload["leaks"]]
    assert keywords == ["PatientID", "PatientName"]  # `secret` is a part of the name, too


def test_deflated_scans_are_read_and_volumes_are_passed_over(
    medvit: Medvit, tmp_path: Path
) -> None:
    dataset = ct_slice(SERIES, 0)
    path = save(dataset, tmp_path / "in" / "a.dcm")
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    (tmp_path / "in" / "b.nii.gz").write_bytes(b"\x1f\x8b\x08 broken")
    note = tmp_path / "note.txt"
    note.write_text("of secret-id")
    answer = medvit("check-identity", note, "--source", tmp_path / "in", "--json")
    assert answer.code == 6
    assert answer.payload["unreadable"] == []
