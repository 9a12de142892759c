"""Segmentations, read back by highdicom and SimpleITK and judged by dciodvfy."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import cast

import highdicom as hd
import numpy as np
import numpy.typing as npt
import pytest
from highdicom.seg import Segmentation
from highdicom.sr import MeasurementReport
from hypothesis import given
from hypothesis import strategies as st
from pydicom.sr.codedict import codes

from medvit.geometry import affine_from, index_to_lps
from medvit.io.case import Case
from medvit.report.dicom_evidence import Evidence, gather_evidence
from medvit.report.dicom_seg import build_seg, pack
from medvit.report.dicom_sr import build_sr
from tests.make.dicom import CtSeries, edit, ramp, write_series
from tests.make.dicom_out import (
    ALGORITHM,
    CUBE,
    OBLIQUE,
    Point,
    case_in,
    errors_in,
    made_case,
    nodule_at,
    point_in,
    write_enhanced,
)

INDEX = (4.2, 11.0, 9.4)
SERIES = {"axial": CUBE, "oblique": OBLIQUE, "oblong": CtSeries(hu=ramp((9, 31, 27)))}


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return made_case(tmp_path)


def read(content: bytes) -> Segmentation:
    return hd.seg.segread(io.BytesIO(content))


def centroids(seg: Segmentation) -> list[npt.NDArray[np.float64]]:
    """Return the centre of every segment in LPS mm, from the tags of its frames alone."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    row_mm, column_mm = shared.PixelMeasuresSequence[0].PixelSpacing
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float)
    points: dict[int, list[npt.NDArray[np.float64]]] = {}
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for frame, groups in zip(pixels, seg.PerFrameFunctionalGroupsSequence, strict=True):
        corner = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        for row, column in np.argwhere(frame):
            place = corner + column * column_mm * cosines[:3] + row * row_mm * cosines[3:]
            points.setdefault(number, []).append(place)
    return [np.mean(points[number], axis=0) for number in sorted(points)]


def within_half_a_voxel(found: Point | npt.NDArray[np.float64], place: Point, case: Case) -> bool:
    affine = gather_evidence(case).affine_lps[:3, :3]
    return bool(np.abs(np.linalg.solve(affine, np.array(found) - place)).max() <= 0.5)


@pytest.mark.parametrize("series", SERIES.values(), ids=SERIES)
@pytest.mark.parametrize("diameter_mm", [0.4, 3.0, 7.7])
def test_a_segment_lies_where_its_finding_is(
    tmp_path: Path, series: CtSeries, diameter_mm: float
) -> None:
    case = made_case(tmp_path, series)
    place = point_in(series, INDEX)
    finding = nodule_at(case, place, diameter_mm=diameter_mm)
    content = build_seg(gather_evidence(case), [finding], ALGORITHM)
    (found,) = centroids(read(content))
    assert within_half_a_voxel(found, place, case)
    assert errors_in(content, tmp_path) == []


@pytest.mark.parametrize("series", SERIES.values(), ids=SERIES)
def test_simpleitk_reads_the_same_place(tmp_path: Path, series: CtSeries) -> None:
    sitk = pytest.importorskip("SimpleITK")
    case = made_case(tmp_path, series)
    place = point_in(series, INDEX)
    path = tmp_path / "seg.dcm"
    finding = nodule_at(case, place, diameter_mm=7.7)
    path.write_bytes(build_seg(gather_evidence(case), [finding], ALGORITHM))
    image = sitk.ReadImage(str(path))
    index = np.argwhere(sitk.GetArrayFromImage(image) > 0).mean(axis=0)
    found = image.TransformContinuousIndexToPhysicalPoint([float(v) for v in index[::-1]])
    assert within_half_a_voxel(found, place, case)


def test_a_segment_says_what_it_is_and_what_it_is_not(case: Case) -> None:
    finding = nodule_at(case, point_in(CUBE, INDEX), diameter_mm=7.25, probability=0.625)
    seg = read(build_seg(gather_evidence(case), [finding], ALGORITHM))
    assert seg.segment_numbers == [1]
    segment = seg.get_segment_description(1)
    assert segment.segment_label == "Nodule 1, 7.2 mm"
    assert segment.segmented_property_type == codes.SCT.Nodule
    assert segment.anatomic_regions == [codes.SCT.Lung]
    assert segment.algorithm_type.value == "AUTOMATIC"
    assert segment.tracking_id == "f-a"
    assert segment.SegmentDescription.startswith("Not an outline: a sphere")
    assert "Probability 0.6250. Research use only" in segment.SegmentDescription
    assert seg.ContentDescription == "Research use only, not a medical device; spheres, no outlines"
    assert (seg.SegmentationType, seg.SegmentsOverlap) == ("BINARY", "NO")


def test_report_and_segmentation_name_a_finding_by_the_same_uid(case: Case) -> None:
    finding = nodule_at(case, point_in(CUBE, INDEX))
    evidence = gather_evidence(case)
    report = hd.sr.srread(io.BytesIO(build_sr(evidence, [finding], ALGORITHM)))
    content = cast("MeasurementReport", report.content)
    (group,) = content.get_planar_roi_measurement_groups()
    seg = read(build_seg(evidence, [finding], ALGORITHM))
    assert group.tracking_uid == seg.get_segment_description(1).tracking_uid


def test_frames_name_the_slices_they_lie_on(case: Case) -> None:
    finding = nodule_at(case, point_in(CUBE, (4.0, 11, 9)), diameter_mm=5.2)
    seg = read(build_seg(gather_evidence(case), [finding], ALGORITHM))
    groups = seg.PerFrameFunctionalGroupsSequence
    heights = [float(each.PlanePositionSequence[0].ImagePositionPatient[2]) for each in groups]
    assert heights == [-22.5, -20.0, -17.5]
    assert [list(each.FrameContentSequence[0].DimensionIndexValues) for each in groups] == [
        [1, 1],
        [1, 2],
        [1, 3],
    ]
    sources = [each.DerivationImageSequence[0].SourceImageSequence[0] for each in groups]
    evidence = gather_evidence(case)
    assert [each.ReferencedSOPInstanceUID for each in sources] == [
        evidence.slices[z].sop_uid for z in (3, 4, 5)
    ]
    assert {each.SpatialLocationsPreserved for each in sources} == {"YES"}


@pytest.mark.parametrize("series", SERIES.values(), ids=SERIES)
def test_highdicom_makes_a_volume_of_the_frames(tmp_path: Path, series: CtSeries) -> None:
    case = made_case(tmp_path, series)
    place = point_in(series, INDEX)
    finding = nodule_at(case, place, diameter_mm=7.7)
    seg = read(build_seg(gather_evidence(case), [finding], ALGORITHM))
    volume = seg.get_volume(combine_segments=True)
    assert volume.spacing == pytest.approx(series.spacing_mm)
    points = volume.map_indices_to_reference(np.argwhere(volume.array > 0))
    assert within_half_a_voxel(points.mean(axis=0), place, case)
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert measures.SpacingBetweenSlices == pytest.approx(series.spacing_mm[0])
    assert measures.SliceThickness == pytest.approx(series.spacing_mm[0])
    assert list(measures.PixelSpacing) == pytest.approx(series.spacing_mm[1:])


def test_frames_of_a_multi_frame_file_are_named_by_number(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "ct" / "all.dcm")
    case = case_in(tmp_path)
    place = point_in(CUBE, (4.0, 11, 9))
    content = build_seg(gather_evidence(case), [nodule_at(case, place, diameter_mm=5.2)], ALGORITHM)
    seg = read(content)
    sources = [
        each.DerivationImageSequence[0].SourceImageSequence[0]
        for each in seg.PerFrameFunctionalGroupsSequence
    ]
    assert [each.ReferencedFrameNumber for each in sources] == [9, 8, 7]
    assert len(seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 1
    assert within_half_a_voxel(centroids(seg)[0], place, case)
    assert errors_in(content, tmp_path) == []


def test_overlapping_spheres_stay_whole(case: Case, tmp_path: Path) -> None:
    places = [point_in(CUBE, index) for index in ((4, 11, 9), (4, 11, 13))]
    evidence = gather_evidence(case)
    both = [nodule_at(case, place, diameter_mm=6.0, name=str(place[0])) for place in places]
    content = build_seg(evidence, both, ALGORITHM)
    seg = read(content)
    assert seg.SegmentsOverlap == "YES"
    alone = [read(build_seg(evidence, [each], ALGORITHM)).pixel_array.sum() for each in both]
    numbers = [
        each.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        for each in seg.PerFrameFunctionalGroupsSequence
    ]
    together = [seg.pixel_array[np.array(numbers) == number].sum() for number in (1, 2)]
    assert together == alone
    assert errors_in(content, tmp_path) == []


def moved(evidence: Evidence) -> Evidence:
    """Return evidence of a volume that was resampled onto a grid of its own."""
    first = index_to_lps(evidence.affine_lps, (0.3, -1.25, 2.5))
    affine = affine_from(list(first), (0, 0, 1.7), (0, 0.65, 0), (0.65, 0, 0))
    nearest = tuple(evidence.nearest(tuple(index_to_lps(affine, (z, 0, 0)))) for z in range(16))
    return replace(
        evidence, affine_lps=affine, shape=(16, 33, 28), slices=nearest, is_on_grid=False
    )


def test_a_resampled_volume_has_planes_of_its_own(case: Case, tmp_path: Path) -> None:
    place = point_in(CUBE, INDEX)
    evidence = moved(gather_evidence(case))
    content = build_seg(evidence, [nodule_at(case, place, diameter_mm=6.0)], ALGORITHM)
    seg = read(content)
    (found,) = centroids(seg)
    assert np.abs((found - place) / (0.65, 0.65, 1.7)).max() <= 0.5
    assert (seg.Rows, seg.Columns) == (33, 28)
    assert seg.FrameOfReferenceUID == CUBE.series_uid + ".2"
    sources = [
        each.DerivationImageSequence[0].SourceImageSequence[0]
        for each in seg.PerFrameFunctionalGroupsSequence
    ]
    assert {each.SpatialLocationsPreserved for each in sources} == {"NO"}
    assert errors_in(content, tmp_path) == []


def test_a_series_of_a_lossy_kind_stays_marked_as_such(tmp_path: Path) -> None:
    for path in write_series(tmp_path / "ct", CUBE):
        edit(path, LossyImageCompression="01")
    case = case_in(tmp_path)
    finding = nodule_at(case, point_in(CUBE, INDEX))
    content = build_seg(gather_evidence(case), [finding], ALGORITHM)
    assert read(content).LossyImageCompression == "01"


def test_the_same_findings_give_the_same_bytes(case: Case) -> None:
    findings = [
        nodule_at(case, point_in(CUBE, (z, 11, 9)), name=str(z), probability=z / 10)
        for z in (2, 4, 6)
    ]
    evidence = gather_evidence(case)
    content = build_seg(evidence, findings, ALGORITHM)
    assert build_seg(gather_evidence(case), findings[::-1], ALGORITHM) == content
    other = build_seg(evidence, findings[:2], ALGORITHM)
    assert read(other).SOPInstanceUID != read(content).SOPInstanceUID


def test_no_finding_is_no_segmentation(case: Case) -> None:
    with pytest.raises(ValueError, match="needs at least one finding, got none"):
        build_seg(gather_evidence(case), [], ALGORITHM)


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=9))
def test_bits_are_packed_without_gaps(frames: list[list[bool]]) -> None:
    packed = pack(np.array(frame) for frame in frames)
    flat = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")
    assert flat[: 5 * len(frames)].tolist() == [int(bit) for frame in frames for bit in frame]
    assert len(packed) % 2 == 0
    assert len(packed) * 8 - 5 * len(frames) < 16


@pytest.mark.shared_data
def test_the_nodule_of_lidc_0001_comes_back_from_both_files(
    shared_data: Path, tmp_path: Path
) -> None:
    sitk = pytest.importorskip("SimpleITK")
    case = case_in(shared_data / "ct" / "lidc" / "LIDC-IDRI-0001")
    place = (56.208, 86.343, -115.868)
    finding = nodule_at(case, place, diameter_mm=23.35, probability=0.62)
    evidence = gather_evidence(case)
    content = build_seg(evidence, [finding], ALGORITHM)
    assert errors_in(content, tmp_path) == []
    assert errors_in(build_sr(evidence, [finding], ALGORITHM), tmp_path) == []
    path = tmp_path / "seg.dcm"
    path.write_bytes(content)
    image = sitk.ReadImage(str(path))
    mask = sitk.GetArrayFromImage(image) > 0
    index = np.argwhere(mask).mean(axis=0)
    found = image.TransformContinuousIndexToPhysicalPoint([float(v) for v in index[::-1]])
    assert np.abs((np.array(found) - place) / (0.703125, 0.703125, 2.5)).max() <= 0.5
    volume_mm3 = mask.sum() * np.prod(image.GetSpacing())
    assert volume_mm3 == pytest.approx(np.pi / 6 * 23.35**3, rel=0.02)
