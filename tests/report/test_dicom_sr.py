"""Structured reports, read back by highdicom and judged by dciodvfy."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom.sr import (
    Comprehensive3DSR,
    ImageRegion,
    MeasurementReport,
    PlanarROIMeasurementsAndQualitativeEvaluations,
)
from highdicom.sr.utils import find_content_items
from pydicom.sr.codedict import codes

from medvit.errors import ReadError
from medvit.io.case import Case
from medvit.report.dicom_evidence import gather_evidence
from medvit.report.dicom_sr import build_sr
from medvit.report.dicom_subject import METHOD
from tests.make.dicom import CtSeries, edit, ramp, write_series
from tests.make.dicom_out import (
    ALGORITHM,
    CUBE,
    OBLIQUE,
    case_in,
    errors_in,
    made_case,
    nodule_at,
    point_in,
    write_enhanced,
)
from tests.make.nifti import write_nifti

INDEX = (4.2, 11.0, 9.5)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return made_case(tmp_path)


def content_of(report: Comprehensive3DSR) -> MeasurementReport:
    assert isinstance(report.content, MeasurementReport)
    return report.content


def roi_of(group: PlanarROIMeasurementsAndQualitativeEvaluations) -> ImageRegion:
    assert isinstance(group.roi, ImageRegion)
    return group.roi


def read(content: bytes) -> Comprehensive3DSR:
    report = hd.sr.srread(io.BytesIO(content))
    assert isinstance(report, Comprehensive3DSR)
    return report


def test_a_finding_comes_back_with_place_diameter_and_codes(case: Case) -> None:
    place = point_in(CUBE, INDEX)
    finding = nodule_at(case, place, diameter_mm=7.25, probability=0.625)
    report = read(build_sr(gather_evidence(case), [finding], ALGORITHM))
    (group,) = content_of(report).get_planar_roi_measurement_groups()
    assert group.tracking_identifier == "f-a"
    assert group.finding_type == codes.SCT.Nodule
    assert [site.value for site in group.finding_sites] == [codes.SCT.Lung]
    diameter, certainty = group.get_measurements()
    assert (diameter.name, diameter.value, diameter.unit) == (
        codes.SCT.Diameter,
        7.25,
        codes.UCUM.Millimeter,
    )
    assert (certainty.name, certainty.value, certainty.unit) == (
        codes.DCM.CertaintyOfFinding,
        62.5,
        codes.UCUM.Percent,
    )
    (centre,) = find_content_items(report, name=codes.DCM.Center, recursive=True)
    assert np.abs(centre.value - place).max() < 1e-3
    assert centre.frame_of_reference_uid == CUBE.series_uid + ".2"


def test_the_circle_lies_on_the_nearest_slice_at_the_right_pixel(case: Case) -> None:
    finding = nodule_at(case, point_in(CUBE, INDEX), diameter_mm=7.0)
    report = read(build_sr(gather_evidence(case), [finding], ALGORITHM))
    (group,) = content_of(report).get_planar_roi_measurement_groups()
    assert roi_of(group).graphic_type.value == "CIRCLE"
    centre, rim = roi_of(group).value
    assert np.abs(centre - (9.5 + 0.5, 11.0 + 0.5)).max() < 1e-3  # pixels count from a corner
    assert math.dist(centre, rim) * 0.7 == pytest.approx(3.5, abs=1e-3)
    (source,) = roi_of(group).ContentSequence
    reference = source.ReferencedSOPSequence[0]
    ordered = sorted(case.files, key=lambda path: pydicom.dcmread(path).ImagePositionPatient[2])
    assert reference.ReferencedSOPInstanceUID == pydicom.dcmread(ordered[4]).SOPInstanceUID
    assert "ReferencedFrameNumber" not in reference


def test_oblique_slices_of_oblong_pixels_get_an_ellipse(tmp_path: Path) -> None:
    case = made_case(tmp_path, OBLIQUE)
    finding = nodule_at(case, point_in(OBLIQUE, INDEX), diameter_mm=6.3)
    report = read(build_sr(gather_evidence(case), [finding], ALGORITHM))
    (group,) = content_of(report).get_planar_roi_measurement_groups()
    assert roi_of(group).graphic_type.value == "ELLIPSE"
    top, bottom, left, right = roi_of(group).value  # rows are closer: the long axis runs along them
    assert np.abs((top + bottom) / 2 - (10.0, 11.5)).max() < 1e-3
    assert math.dist(top, bottom) * 0.7 == pytest.approx(6.3, abs=1e-3)
    assert math.dist(left, right) * 0.9 == pytest.approx(6.3, abs=1e-3)
    assert top[0] == pytest.approx(bottom[0])
    assert left[1] == pytest.approx(right[1])


def test_a_frame_of_a_multi_frame_file_is_named_by_its_number(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "ct" / "all.dcm")
    case = case_in(tmp_path)
    content = build_sr(gather_evidence(case), [nodule_at(case, point_in(CUBE, INDEX))], ALGORITHM)
    (group,) = content_of(read(content)).get_planar_roi_measurement_groups()
    reference = roi_of(group).ContentSequence[0].ReferencedSOPSequence[0]
    assert reference.ReferencedFrameNumber == 12 - 4  # frames lie against the spatial order
    assert errors_in(content, tmp_path) == []


def test_findings_come_most_probable_first(case: Case) -> None:
    place = point_in(CUBE, INDEX)
    findings = [
        nodule_at(case, place, probability=probability, name=name)
        for name, probability in (("b", 0.3), ("d", 0.9), ("c", 0.3))
    ]
    evidence = gather_evidence(case)
    content = build_sr(evidence, findings, ALGORITHM)
    groups = content_of(read(content)).get_planar_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["f-d", "f-b", "f-c"]
    assert build_sr(evidence, findings[::-1], ALGORITHM) == content


def test_a_series_without_findings_says_what_was_looked_for(case: Case, tmp_path: Path) -> None:
    content = build_sr(gather_evidence(case), [], ALGORITHM)
    report = read(content)
    assert not content_of(report).get_planar_roi_measurement_groups()
    (group,) = content_of(report).get_image_measurement_groups()
    (evaluation,) = group.get_qualitative_evaluations(codes.DCM.CADProcessingAndFindingsSummary)
    assert evaluation.value == codes.DCM.AllAlgorithmsSucceededWithoutFindings
    (comment,) = find_content_items(report, name=codes.DCM.Comment, recursive=True)
    assert "Looked for lung nodules" in comment.value
    assert comment.value.endswith("least probability 0.25: none found.")
    assert len(report.get_evidence()) == 12
    assert errors_in(content, tmp_path) == []


def test_a_series_without_lungs_was_not_searched(case: Case, tmp_path: Path) -> None:
    content = build_sr(gather_evidence(case), [], replace(ALGORITHM, has_searched=False))
    report = read(content)
    (group,) = content_of(report).get_image_measurement_groups()
    (evaluation,) = group.get_qualitative_evaluations(codes.DCM.CADProcessingAndFindingsSummary)
    assert evaluation.value == codes.DCM.NoAlgorithmsSucceededWithoutFindings
    (comment,) = find_content_items(report, name=codes.DCM.Comment, recursive=True)
    assert "No lungs were found, so nothing was searched by nodule-swin3d@2026.11" in comment.value
    assert errors_in(content, tmp_path) == []


def test_every_report_says_that_it_is_no_medical_device(case: Case) -> None:
    finding = nodule_at(case, point_in(CUBE, INDEX))
    report = read(build_sr(gather_evidence(case), [finding], ALGORITHM))
    (comment,) = find_content_items(report, name=codes.DCM.Comment, recursive=True)
    assert comment.value.startswith("Research use only. Not a medical device.")
    names = find_content_items(report, name=codes.DCM.AlgorithmName, recursive=True)
    assert {item.value for item in names} == {"medvit nodule-swin3d"}
    (observer,) = find_content_items(report, name=codes.DCM.DeviceObserverName, recursive=True)
    assert observer.value == "medvit"


@pytest.mark.parametrize("series", [CUBE, OBLIQUE, CtSeries()], ids=["axial", "oblique", "oblong"])
@pytest.mark.parametrize("keep_identity", [False, True])
def test_dciodvfy_finds_no_error(tmp_path: Path, series: CtSeries, *, keep_identity: bool) -> None:
    case = made_case(tmp_path, series)
    evidence = gather_evidence(case, keep_identity=keep_identity)
    places = [point_in(series, index) for index in ((1, 2, 3), (3.5, 5, 4))]
    findings = [nodule_at(case, place, name=str(place[0])) for place in places]
    assert errors_in(build_sr(evidence, findings, ALGORITHM), tmp_path) == []


def test_the_same_findings_give_the_same_bytes_and_others_another_uid(case: Case) -> None:
    finding = nodule_at(case, point_in(CUBE, INDEX))
    evidence = gather_evidence(case)
    first, again = (build_sr(evidence, [finding], ALGORITHM) for _ in range(2))
    assert first == again
    reports = [
        first,
        build_sr(evidence, [replace(finding, probability=0.51)], ALGORITHM),
        build_sr(evidence, [], ALGORITHM),
        build_sr(evidence, [finding], replace(ALGORITHM, reference="other@1")),
        build_sr(evidence, [finding], replace(ALGORITHM, min_probability=0.3)),
        build_sr(gather_evidence(case, keep_identity=True), [finding], ALGORITHM),
    ]
    uids = [str(read(report).SOPInstanceUID) for report in reports]
    assert len(set(uids)) == len(uids)
    assert all(pydicom.uid.UID(uid).is_valid and uid.startswith("2.25.") for uid in uids)


IDENTITY: dict[str, str] = {
    "PatientName": "Müller^Jörg",
    "PatientBirthDate": "19701231",
    "PatientSex": "M",
    "StudyDate": "20240229",
    "StudyTime": "101112",
    "AccessionNumber": "ACC-77",
    "StudyDescription": "CHEST",
    "ReferringPhysicianName": "House^Gregory",
}


@pytest.fixture
def named_case(tmp_path: Path) -> Case:
    for path in write_series(tmp_path / "ct", CUBE):
        edit(path, SpecificCharacterSet="ISO_IR 100", InstitutionName="General", **IDENTITY)
    return case_in(tmp_path)


def test_patients_are_pseudonyms(named_case: Case) -> None:
    content = build_sr(gather_evidence(named_case), [], ALGORITHM)
    for secret in ("ller", "SECRET-ID", "19701231", "20240229", "ACC-77", "General", "House"):
        assert secret.encode() not in content, secret
    report = read(content)
    assert report.PatientID == named_case.case_id
    assert report.StudyInstanceUID == CUBE.series_uid + ".1"
    assert [str(report.ContentDate), str(report.ContentTime)] == ["19000101", "000000"]
    assert (report.PatientIdentityRemoved, report.DeidentificationMethod) == ("YES", METHOD)


def test_names_are_kept_on_demand(named_case: Case, tmp_path: Path) -> None:
    content = build_sr(gather_evidence(named_case, keep_identity=True), [], ALGORITHM)
    report = read(content)
    assert {keyword: str(report.get(keyword)) for keyword in IDENTITY} == IDENTITY
    assert report.PatientID == "SECRET-ID"
    assert [str(report.ContentDate), str(report.ContentTime)] == ["20240229", "101112"]
    assert "PatientIdentityRemoved" not in report
    assert b"General" not in content
    assert errors_in(content, tmp_path) == []


@pytest.mark.filterwarnings("ignore:Invalid value for VR")  # pydicom, while they are written
def test_broken_values_of_a_patient_are_left_out(tmp_path: Path) -> None:
    for path in write_series(tmp_path / "ct", CUBE):
        edit(path, PatientSex="W", StudyDate="2024022", StudyTime="99", PatientBirthDate="x")
        edit(path, PatientAge="0Y", OtherPatientIDs=["A", "B"])
    evidence = gather_evidence(case_in(tmp_path), keep_identity=True)
    content = build_sr(evidence, [], ALGORITHM)
    report = read(content)
    assert [report.PatientSex, str(report.PatientName)] == ["", "Secret^Person"]
    assert str(report.ContentDate) == "19000101"
    assert not {"PatientAge", "OtherPatientIDs"} & set(report.dir())
    assert errors_in(content, tmp_path) == []


def test_a_volume_without_dicom_has_nothing_to_refer_to(tmp_path: Path) -> None:
    write_nifti(tmp_path / "scan.nii.gz", ramp((6, 7, 8)))
    with pytest.raises(ReadError, match="not DICOM, so there is no series") as caught:
        gather_evidence(case_in(tmp_path))
    assert caught.value.reason == "no_reference"


def test_a_series_without_study_uid_has_nothing_to_refer_to(tmp_path: Path) -> None:
    for path in write_series(tmp_path / "ct", CUBE):
        edit(path, StudyInstanceUID=None)
    with pytest.raises(ReadError, match="StudyInstanceUID missing is no UID"):
        gather_evidence(case_in(tmp_path))


def test_a_series_without_frame_of_reference_gets_the_same_one_every_time(tmp_path: Path) -> None:
    for path in write_series(tmp_path / "ct", CUBE):
        edit(path, FrameOfReferenceUID=None)
    case = case_in(tmp_path)
    first, again = gather_evidence(case), gather_evidence(case)
    assert first.frame_uid == again.frame_uid
    assert first.frame_uid.startswith("2.25.")
    content = build_sr(first, [nodule_at(case, point_in(CUBE, INDEX))], ALGORITHM)
    assert errors_in(content, tmp_path) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_mm": None}, "finding f-a has no place in space: x, y, z None"),
        ({"diameter_mm": None}, "finding f-a needs a positive diameter, got None"),
        ({"diameter_mm": 0.0}, "finding f-a needs a positive diameter, got 0.0"),
    ],
)
def test_a_finding_that_is_no_nodule_is_named(
    case: Case, change: dict[str, Any], message: str
) -> None:
    finding = replace(nodule_at(case, point_in(CUBE, INDEX)), **change)
    with pytest.raises(ValueError, match=message):
        build_sr(gather_evidence(case), [finding], ALGORITHM)
