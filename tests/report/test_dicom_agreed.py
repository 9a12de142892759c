"""Reports of what readers agree on, read back by highdicom and judged by dciodvfy."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from highdicom.sr import Comprehensive3DSR, MeasurementReport
from highdicom.sr.utils import find_content_items
from pydicom.sr.codedict import codes

from medvit.findings.agreed import AgreedNodule
from medvit.io.case import Case
from medvit.report.dicom_agreed import build_agreed_sr
from medvit.report.dicom_evidence import gather_evidence
from medvit.report.dicom_sr import build_sr
from tests.make.dicom import CtSeries
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

PLACE = point_in(CUBE, (4.2, 11.0, 9.5))
ACCEPTED = AgreedNodule("f-a", PLACE, 7.25, 2, 3, ALGORITHM.reference)
ADDED = AgreedNodule("f-b", point_in(CUBE, (8, 20, 5)), 4.5, 1, 1, "")


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return made_case(tmp_path)


def read(content: bytes) -> Comprehensive3DSR:
    report = hd.sr.srread(io.BytesIO(content))
    assert isinstance(report, Comprehensive3DSR)
    return report


def content_of(report: Comprehensive3DSR) -> MeasurementReport:
    assert isinstance(report.content, MeasurementReport)
    return report.content


def test_nodules_come_back_with_place_diameter_and_how_many_confirmed_them(case: Case) -> None:
    report = read(build_agreed_sr(gather_evidence(case), [ACCEPTED, ADDED]))
    groups = content_of(report).get_planar_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["f-a", "f-b"]
    assert {group.finding_type for group in groups} == {codes.SCT.Nodule}
    measured = [[(each.name, each.value) for each in group.get_measurements()] for group in groups]
    assert measured == [[(codes.SCT.Diameter, 7.25)], [(codes.SCT.Diameter, 4.5)]]
    centres = find_content_items(report, name=codes.DCM.Center, recursive=True)
    assert np.abs(centres[0].value - PLACE).max() < 1e-3
    texts = [each.value for each in find_content_items(report, codes.DCM.Comment, recursive=True)]
    assert texts[0].startswith("Research use only. Not a medical device.")
    assert "Lung nodules that readers agree on: 2." in texts[0]
    assert texts[1:] == [
        "Readers who judged it: 3; who confirmed it: 2. "
        "Centre and diameter are those of nodule-swin3d@2026.11.",
        "Readers who judged it: 1; who confirmed it: 1. Centre and diameter are those of readers.",
    ]
    names = find_content_items(report, name=codes.DCM.AlgorithmName, recursive=True)
    assert [each.value for each in names] == ["medvit nodule-swin3d"]  # of the accepted one alone


def test_observers_are_readers_without_names_and_the_program(case: Case) -> None:
    report = read(build_agreed_sr(gather_evidence(case), [ACCEPTED]))
    types = find_content_items(report, name=codes.DCM.ObserverType, recursive=True)
    assert [each.value for each in types] == [codes.DCM.Person, codes.DCM.Device]
    (person,) = find_content_items(report, name=codes.DCM.PersonObserverName, recursive=True)
    assert str(person.value) == "Readers^"
    assert (report.VerificationFlag, report.PatientID) == ("UNVERIFIED", case.case_id)


def test_the_same_nodule_has_one_tracking_uid_whoever_reports_it(case: Case) -> None:
    evidence = gather_evidence(case)
    reports = [
        read(build_sr(evidence, [nodule_at(case, PLACE)], ALGORITHM)),
        read(build_agreed_sr(evidence, [ACCEPTED])),
    ]
    groups = [content_of(report).get_planar_roi_measurement_groups()[0] for report in reports]
    assert groups[0].tracking_uid == groups[1].tracking_uid
    assert reports[0].SeriesInstanceUID != reports[1].SeriesInstanceUID
    assert reports[0].SeriesNumber != reports[1].SeriesNumber


def test_the_same_nodules_give_the_same_bytes_and_others_another_uid(case: Case) -> None:
    evidence = gather_evidence(case)
    first = build_agreed_sr(evidence, [ACCEPTED])
    assert first == build_agreed_sr(evidence, [ACCEPTED])
    reports = [
        first,
        build_agreed_sr(evidence, [ACCEPTED, ADDED]),
        build_agreed_sr(evidence, [replace(ACCEPTED, diameter_mm=7.0)]),
        build_agreed_sr(evidence, [replace(ACCEPTED, confirmed_by=3)]),
        build_agreed_sr(evidence, [replace(ACCEPTED, measured_by="")]),
        build_agreed_sr(gather_evidence(case, keep_identity=True), [ACCEPTED]),
    ]
    uids = {str(read(report).SOPInstanceUID) for report in reports}
    assert len(uids) == len(reports)


@pytest.mark.parametrize("series", [CUBE, OBLIQUE, CtSeries()], ids=["axial", "oblique", "oblong"])
@pytest.mark.parametrize("keep_identity", [False, True])
def test_dciodvfy_finds_no_error(tmp_path: Path, series: CtSeries, *, keep_identity: bool) -> None:
    case = made_case(tmp_path, series)
    evidence = gather_evidence(case, keep_identity=keep_identity)
    nodules = [
        replace(each, centre_lps_mm=point_in(series, index))
        for each, index in ((ACCEPTED, (1, 2, 3)), (ADDED, (3.5, 5, 4)))
    ]
    assert errors_in(build_agreed_sr(evidence, nodules), tmp_path) == []


def test_dciodvfy_finds_no_error_in_a_report_of_frames(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "ct" / "all.dcm")
    content = build_agreed_sr(gather_evidence(case_in(tmp_path)), [ACCEPTED])
    assert errors_in(content, tmp_path) == []


def test_a_report_of_nothing_is_refused(case: Case) -> None:
    with pytest.raises(ValueError, match=f"case {case.case_id}: .* at least, got none"):
        build_agreed_sr(gather_evidence(case), [])
