"""A real chest from folder to SR and SEG, with the shipped detector."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from highdicom.sr.utils import find_content_items
from pydicom.sr.codedict import codes

from medvit.workspace import Workspace
from pipelines.scan import ScanSettings, ScanSummary, run
from tests.make.dicom_out import errors_in

pytestmark = [pytest.mark.shared_data, pytest.mark.slow]

NODULE_LPS_MM = (56.208, 86.343, -115.868)
DIAMETER_MM = 23.35


@pytest.fixture(scope="module")
def scanned(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> ScanSummary:
    folder = tmp_path_factory.mktemp("lidc")
    source = shared_data / "ct" / "lidc" / "LIDC-IDRI-0001"
    settings = ScanSettings(sources=(source,), out=folder / "out", write=("sr", "seg"))
    return run(settings, workspace=Workspace(folder / "workspace"))


def file_of(scanned: ScanSummary, kind: str) -> Path:
    (path,) = (scanned.out / "dicom").glob(f"*/{kind}.dcm")
    return path


def largest_mm(scanned: ScanSummary) -> float:
    with (scanned.out / "findings.csv").open(encoding="utf-8", newline="") as stream:
        return max(float(row["diameter_mm"]) for row in csv.DictReader(stream))


def test_the_report_points_at_the_nodule(scanned: ScanSummary, tmp_path: Path) -> None:
    path = file_of(scanned, "sr")
    assert errors_in(path.read_bytes(), tmp_path) == []
    centres = find_content_items(hd.sr.srread(path), name=codes.DCM.Center, recursive=True)
    assert len(centres) == scanned.findings
    places = [tuple(item.value[0]) for item in centres]
    assert min(math.dist(place, NODULE_LPS_MM) for place in places) < 3


def test_its_segment_lies_there_too(scanned: ScanSummary, tmp_path: Path) -> None:
    path = file_of(scanned, "seg")
    assert errors_in(path.read_bytes(), tmp_path) == []
    seg = hd.seg.segread(path)
    assert seg.number_of_segments == scanned.findings
    volume = seg.get_volume(segment_numbers=[1], combine_segments=True)
    points = volume.map_indices_to_reference(np.argwhere(volume.array > 0))
    assert math.dist(points.mean(axis=0), NODULE_LPS_MM) < 3
    diameter_mm = largest_mm(scanned)
    measured_mm3 = len(points) * float(np.prod(volume.spacing))
    assert measured_mm3 == pytest.approx(math.pi / 6 * diameter_mm**3, rel=0.05)


@pytest.mark.xfail(strict=True, reason="measured 26.3 mm on slices of 2.5 mm, readers 23.35 mm")
def test_its_diameter_is_that_of_the_readers(scanned: ScanSummary) -> None:
    assert largest_mm(scanned) == pytest.approx(DIAMETER_MM, rel=0.1)


def test_a_second_scan_gives_the_same_bytes(scanned: ScanSummary, shared_data: Path) -> None:
    first = {kind: file_of(scanned, kind).read_bytes() for kind in ("sr", "seg")}
    for kind in first:
        file_of(scanned, kind).unlink()
    source = shared_data / "ct" / "lidc" / "LIDC-IDRI-0001"
    settings = ScanSettings(sources=(source,), out=scanned.out, write=("sr", "seg"))
    again = run(settings, workspace=Workspace(scanned.run.parents[2]))
    assert again.resumed == 1
    assert {kind: file_of(again, kind).read_bytes() for kind in first} == first
