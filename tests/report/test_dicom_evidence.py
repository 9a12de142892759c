from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from medvit.io.case import Case
from medvit.report.dicom_evidence import SourceSlice, gather_evidence, stable_uid
from medvit.report.dicom_subject import subject_of
from tests.make.dicom import CtSeries, ct_slice, edit, ramp, save, write_series
from tests.make.dicom_out import CUBE, OBLIQUE, case_in, made_case, point_in, write_enhanced

SLICE = SourceSlice(
    "1.2",
    "1.3",
    None,
    corner_lps_mm=np.array([10.0, 20.0, 30.0]),
    along_row=np.array([0.8, 0.6, 0.0]),
    along_column=np.array([-0.36, 0.48, 0.8]),
    spacing_mm=(2.0, 0.5),
)


@given(column=st.floats(-50, 600), row=st.floats(-50, 600), height_mm=st.floats(-9, 9))
def test_a_point_comes_back_to_its_pixel(column: float, row: float, height_mm: float) -> None:
    normal = np.cross(SLICE.along_row, SLICE.along_column)
    point = SLICE.corner_lps_mm + 0.5 * column * SLICE.along_row + 2 * row * SLICE.along_column
    point = point + height_mm * normal
    assert np.allclose(SLICE.pixel_at(point), (column + 0.5, row + 0.5))
    assert SLICE.distance_mm(point) == pytest.approx(abs(height_mm), abs=1e-9)


@given(parts=st.lists(st.text(max_size=9), max_size=5))
def test_a_uid_is_valid_and_depends_on_its_parts_alone(parts: list[str]) -> None:
    uid = stable_uid(*parts)
    assert UID(uid).is_valid
    assert uid == stable_uid(*parts)
    assert uid != stable_uid(*parts, "more")


@pytest.mark.parametrize("series", [CUBE, OBLIQUE, CtSeries()], ids=["axial", "oblique", "oblong"])
def test_slices_lie_where_the_files_say(tmp_path: Path, series: CtSeries) -> None:
    evidence = gather_evidence(made_case(tmp_path, series))
    assert evidence.is_on_grid
    corners = np.array([each.corner_lps_mm for each in evidence.slices])
    assert np.allclose(corners, series.positions(), atol=1e-5)
    assert {each.frame_number for each in evidence.slices} == {None}
    place = point_in(series, (2.4, 3.0, 4.0))
    assert evidence.nearest(place) is evidence.slices[2]
    assert [image.SOPInstanceUID for image in evidence.instances()] == [
        each.sop_uid for each in evidence.slices
    ]


def test_one_file_of_many_frames_is_one_instance(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "ct" / "all.dcm")
    evidence = gather_evidence(case_in(tmp_path))
    assert evidence.is_on_grid
    assert len(evidence.instances()) == 1
    assert [each.frame_number for each in evidence.slices] == list(range(12, 0, -1))


@pytest.fixture
def tilted(tmp_path: Path) -> Case:
    step_mm = (0.0, 3 * math.tan(math.radians(12)), 3.0)
    series = CtSeries(hu=ramp((9, 30, 26)), spacing_mm=(3.0, 0.7, 0.7), step_lps_mm=step_mm)
    return made_case(tmp_path, series)


def test_a_tilted_series_is_off_the_grid_of_its_files(tilted: Case) -> None:
    evidence = gather_evidence(tilted)
    assert not evidence.is_on_grid
    assert len(evidence.slices) == evidence.shape[0]
    point = (-3.0, -10.0, -20.0)
    distances_mm = [each.distance_mm(np.array(point)) for each in evidence.slices]
    assert evidence.nearest(point).distance_mm(np.array(point)) == min(distances_mm)


def test_the_subject_of_a_deflated_file_is_read(tmp_path: Path) -> None:
    dataset = ct_slice(CtSeries(), 0)
    dataset.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    dataset.PatientName = "Yamada^Tarou=山田^太郎"
    path = save(dataset, tmp_path / "a.dcm")
    expected = subject_of(path)
    assert str(expected.PatientName) == "Yamada^Tarou=山田^太郎"
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    assert subject_of(path) == expected


def test_an_identity_is_kept_whole_and_only_on_demand(tmp_path: Path) -> None:
    for path in write_series(tmp_path / "ct", CUBE):
        edit(path, IssuerOfPatientID="CLINIC", PatientWeight="71.5")
    case = case_in(tmp_path)
    kept = gather_evidence(case, keep_identity=True).subject
    assert (kept.PatientID, kept.IssuerOfPatientID, float(kept.PatientWeight)) == (
        "SECRET-ID",
        "CLINIC",
        71.5,
    )
    plain = gather_evidence(case).subject
    assert plain.PatientID == case.case_id
    assert "IssuerOfPatientID" not in plain
    assert plain == gather_evidence(replace(case, source="elsewhere")).subject
