"""SR and SEG of every real series that can be read, straight, tilted or uneven."""

from __future__ import annotations

import io
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest

from medvit.errors import ReadError
from medvit.geometry import index_to_lps, spacing_of
from medvit.io.case import Case
from medvit.io.discover import discover
from medvit.io.triage import triage
from medvit.report.dicom_evidence import NO_REFERENCE, Evidence, gather_evidence
from medvit.report.dicom_seg import build_seg
from medvit.report.dicom_sr import build_sr
from tests.make.dicom_out import ALGORITHM, errors_in, nodule_at

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Invalid value for VR"),  # in the patients' own tags
    pytest.mark.filterwarnings("ignore:The string .* is unlikely to represent"),
]


@pytest.fixture(scope="module")
def readable(shared_data: Path) -> list[Case]:
    cases = [case for case in discover(shared_data / "ct").cases if case.kind == "ct"]
    return [case for case in cases if triage(case).verdict != "refuse"]


@pytest.fixture(scope="module")
def evidence(readable: list[Case]) -> list[tuple[Case, Evidence]]:
    dicom = [case for case in readable if case.series_uid]
    return [(case, gather_evidence(case, keep_identity=True)) for case in dicom]


def test_every_series_but_the_other_formats_can_be_referred_to(
    evidence: list[tuple[Case, Evidence]], readable: list[Case]
) -> None:
    assert len(evidence) >= 8
    others = [case for case in readable if not case.series_uid]
    assert others
    for case in others:
        with pytest.raises(ReadError, match="not DICOM") as caught:
            gather_evidence(case)
        assert caught.value.reason == NO_REFERENCE


def test_dciodvfy_finds_no_error_and_segments_lie_where_findings_are(
    evidence: list[tuple[Case, Evidence]], tmp_path: Path
) -> None:
    for case, each in evidence:
        spacing_mm = spacing_of(each.affine_lps)
        centre = index_to_lps(each.affine_lps, [0.5 * (n - 1) + 0.2 for n in each.shape])
        place = (float(centre[0]), float(centre[1]), float(centre[2]))
        diameter_mm = 1.5 * max(spacing_mm)
        finding = nodule_at(case, place, diameter_mm=diameter_mm)
        report = build_sr(each, [finding], ALGORITHM)
        content = build_seg(each, [finding], ALGORITHM)
        assert errors_in(report, tmp_path) == [], case.source
        assert errors_in(content, tmp_path) == [], case.source
        volume = hd.seg.segread(io.BytesIO(content)).get_volume(combine_segments=True)
        points = volume.map_indices_to_reference(np.argwhere(volume.array > 0))
        way = np.linalg.solve(each.affine_lps[:3, :3], points.mean(axis=0) - place)
        assert np.abs(way).max() <= 0.5, case.source


def test_a_circle_lies_at_most_half_a_gap_from_its_finding(
    evidence: list[tuple[Case, Evidence]],
) -> None:
    for case, each in evidence:
        for z in (0, each.shape[0] - 1):
            place = index_to_lps(each.affine_lps, (z, 0, 0))
            source = each.nearest((float(place[0]), float(place[1]), float(place[2])))
            gap_mm = spacing_of(each.affine_lps)[0]
            assert source.distance_mm(place) <= gap_mm / 2 + 0.01, case.source
