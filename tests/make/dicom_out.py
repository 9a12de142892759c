"""Findings in made series, and what a DICOM validator says of the files written for them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage

from medvit.findings.finding import Finding
from medvit.io.case import Case
from medvit.io.discover import discover
from medvit.report.dicom_words import Algorithm
from tests.make.dicom import CtSeries, ct_slice, ramp, save, write_series

ALGORITHM = Algorithm("nodule-swin3d@2026.11", 0.25)
CUBE = CtSeries(hu=ramp((12, 30, 26)), spacing_mm=(2.5, 0.7, 0.7))
OBLIQUE = CtSeries(
    hu=ramp((12, 30, 26)),
    spacing_mm=(2.5, 0.7, 0.9),
    orientation=(0.8, 0.6, 0.0, -0.36, 0.48, 0.8),
)
VALIDATOR = "dciodvfy"

Point = tuple[float, float, float]


def case_in(folder: Path) -> Case:
    """Return the one case of a folder."""
    (case,) = discover(folder).cases
    return case


def made_case(folder: Path, series: CtSeries = CUBE) -> Case:
    """Write a series and return it as a case."""
    write_series(folder / "ct", series)
    return case_in(folder)


def point_in(series: CtSeries, index_zyx: tuple[float, float, float]) -> Point:
    """Return the place of an index of a series, LPS mm, from the tags alone."""
    z, y, x = index_zyx
    _, y_mm, x_mm = series.spacing_mm
    row, column = np.array(series.orientation[:3]), np.array(series.orientation[3:])
    first, second = series.positions()[:2]
    place: npt.NDArray[np.float64] = (
        first + z * (second - first) + y * y_mm * column + x * x_mm * row
    )
    return float(place[0]), float(place[1]), float(place[2])


def nodule_at(
    case: Case, place: Point, *, diameter_mm: float = 6.0, probability: float = 0.5, name: str = "a"
) -> Finding:
    """Return a nodule at a place, LPS mm."""
    return Finding(
        case_id=case.case_id,
        kind="ct",
        source=case.source,
        series_uid=case.series_uid,
        finding_id=f"f-{name}",
        label="nodule",
        probability=probability,
        x_mm=place[0],
        y_mm=place[1],
        z_mm=place[2],
        diameter_mm=diameter_mm,
        model=ALGORITHM.reference,
    )


def write_enhanced(path: Path, series: CtSeries = CUBE) -> Path:
    """Write a series as one multi-frame file, its frames against their spatial order."""
    dataset = ct_slice(series, 0)
    dataset.SOPClassUID = EnhancedCTImageStorage
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, keyword)
    numbers = list(range(len(series.hu)))[::-1]
    dataset.NumberOfFrames = len(numbers)
    dataset.PixelData = b"".join(ct_slice(series, number).PixelData for number in numbers)
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = list(series.orientation)
    measures.PixelSpacing = list(series.spacing_mm[1:])
    measures.SliceThickness = series.spacing_mm[0]
    shared.PlaneOrientationSequence = [orientation]
    shared.PixelMeasuresSequence = [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [_frame(series, number) for number in numbers]
    return save(dataset, path)


def _frame(series: CtSeries, number: int) -> Dataset:
    frame, plane = Dataset(), Dataset()
    plane.ImagePositionPatient = [round(float(v), 6) for v in series.positions()[number]]
    frame.PlanePositionSequence = [plane]
    return frame


def errors_in(content: bytes, folder: Path) -> list[str]:
    """Return the errors that dciodvfy of dicom3tools finds in a DICOM file; skips without it."""
    program = shutil.which(VALIDATOR)
    if program is None:
        reason = f"{VALIDATOR} not found: install dicom3tools"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    path = folder / "validated.dcm"
    path.write_bytes(content)
    answer = subprocess.run(
        [program, "-new", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    lines = (answer.stdout + answer.stderr).splitlines()
    assert any(kind in line for line in lines for kind in ("SR", "Segmentation")), lines
    return [line for line in lines if "error" in line.lower()]
