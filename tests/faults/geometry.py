"""Series that are tilted, uneven, turned, or lie about where they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from tests.faults.scan import CORONAL, SAGITTAL, SCAN, SMOOTH, Scan
from tests.faults.slices import changed, ct_slices, kept, save_all, tagged, worded
from tests.faults.truth import Exact, Fault, Truth, exact, resampled

COUNT = SCAN.shape[0]
ALL = tuple(range(COUNT))
STEP_MM = SCAN.spacing_mm[0]
UNEVEN = frozenset({"uneven_spacing", "missing_slices"})
TILT = frozenset({"gantry_tilt"})
PLACE = frozenset({"no_position", "bad_value", "missing_data"})
MIXED = frozenset({"mixed_series", "mixed_orientation"})

OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)
"""Two directions at right angles, neither along an axis."""


def _tilted(degrees: float, *, along: int) -> Scan:
    aside = [0.0, 0.0, 0.0]
    aside[along] = STEP_MM * float(np.tan(np.radians(degrees)))
    return replace(SMOOTH, aside_mm=(aside[0], aside[1], aside[2]))


def _uneven(*gaps_mm: float) -> Scan:
    along = np.concatenate([[0.0], np.cumsum(gaps_mm)])
    return replace(SMOOTH, along_mm=tuple((along - along.mean()).tolist()))


TILT_15 = _tilted(15, along=1)
TILT_HALF = _tilted(0.5, along=1)
TILT_ASIDE = _tilted(10, along=0)
STRONG = _uneven(2.0, 3.3, 4.1, 2.4, 3.7, 2.2, 4.5, 2.9)
ONE_WIDE = _uneven(2.5, 2.5, 2.5, 3.25, 2.5, 2.5, 2.5, 2.5)
DRIFTING = _uneven(2.3, 2.35, 2.4, 2.45, 2.5, 2.55, 2.6, 2.65)
THICK_END = _uneven(2.5, 2.5, 2.5, 2.5, 5.0, 5.0, 5.0, 5.0)
ROUNDED = replace(SCAN, spacing_mm=(1.25, 1.0, 0.8), centre_lps_mm=(1.25, -2.5, 0.0))
NON_SQUARE = replace(SCAN, spacing_mm=(3.0, 0.5, 0.9))
FLIPPED = replace(SCAN, orientation=(1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
PRONE = replace(SCAN, orientation=(-1.0, 0.0, 0.0, 0.0, -1.0, 0.0))


def _rounded(_number: int, dataset: Dataset) -> None:
    place = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [place[0], place[1], f"{float(place[2]):.1f}"]


def _rounded_truth() -> list[Truth]:
    return [Exact(ROUNDED.hu(), ROUNDED.affine_lps(), tolerance_mm=0.06)]


def _jittering(number: int, dataset: Dataset) -> None:
    off = 1e-6 * (-1) ** number
    dataset.ImageOrientationPatient = [1.0, off, 0.0, -off, 1.0, 0.0]


def _turned_half(folder: Path) -> None:
    turned = (float(np.cos(0.2)), float(np.sin(0.2)), 0.0, -float(np.sin(0.2)), float(np.cos(0.2)))
    slices = ct_slices()
    for dataset in slices[COUNT // 2 :]:
        dataset.ImageOrientationPatient = [*(round(value, 9) for value in turned), 0.0]
    save_all(folder, slices)


def _moved_aside(number: int, dataset: Dataset) -> None:
    if number == 4:
        place = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [place[0] + 3.0, place[1], place[2]]


def _descending(folder: Path) -> None:
    slices = ct_slices()[::-1]
    for number, dataset in enumerate(slices, start=1):
        dataset.InstanceNumber = number
    save_all(folder, slices)


def _sound(name: str, wrong: str, scan: Scan) -> Fault:
    return Fault(name, "geometry", wrong, kept(*ALL, scan=scan), _one(scan), must_read=True)


def _one(scan: Scan) -> Callable[[], list[Truth]]:
    return lambda: [exact(scan)]


def _bent(
    name: str, wrong: str, scan: Scan, codes: frozenset[str], *, tolerance_hu: float = 5.0
) -> Fault:
    """Return a fault that may be refused, or resampled with a word."""
    return Fault(
        name,
        "geometry",
        wrong,
        kept(*ALL, scan=scan),
        lambda: [resampled(scan, tolerance_hu=tolerance_hu)],
        refuse=codes,
        say=codes,
    )


def _no_place(name: str, wrong: str, write: Callable[[Path], None], *more: str) -> Fault:
    return Fault(name, "geometry", wrong, write, refuse=PLACE | frozenset(more))


GEOMETRY = (
    _bent("tilt_15_degrees", "The gantry was tilted by 15 degrees.", TILT_15, TILT),
    _bent(
        "tilt_half_degree",
        "The gantry was tilted by half a degree: 0.2 mm over the stack.",
        TILT_HALF,
        TILT,
        tolerance_hu=1.5,
    ),
    _bent("tilt_sideways", "Slices follow each other 10 degrees aside in x.", TILT_ASIDE, TILT),
    _bent("gaps_uneven", "Gaps vary from 2.0 to 4.5 mm.", STRONG, UNEVEN),
    _bent("gap_wider_by_a_third", "One gap is 3.25 mm, the others 2.5 mm.", ONE_WIDE, UNEVEN),
    _bent("gaps_drifting", "Gaps grow from 2.30 to 2.65 mm, 0.05 mm each.", DRIFTING, UNEVEN),
    _bent("gaps_double_at_the_end", "Gaps are 2.5 mm, then 5.0 mm.", THICK_END, UNEVEN),
    Fault(
        "positions_rounded",
        "geometry",
        "Slices every 1.25 mm, positions written with one decimal: sound.",
        changed(_rounded, ROUNDED),
        _rounded_truth,
        must_read=True,
    ),
    Fault(
        "orientation_jitters",
        "geometry",
        "Directions differ by a millionth from slice to slice: sound.",
        changed(_jittering),
        _one(SCAN),
        must_read=True,
    ),
    Fault(
        "numbers_padded",
        "geometry",
        "Numbers are written with blanks, signs and exponents: sound.",
        worded("PixelSpacing", " +1.000E+00\\ 8.0e-01 "),
        _one(SCAN),
        must_read=True,
    ),
    Fault(
        "frame_of_reference_missing",
        "geometry",
        "No slice names its frame of reference.",
        tagged(FrameOfReferenceUID=None),
        _one(SCAN),
        must_read=True,
    ),
    Fault(
        "slice_moved_aside",
        "geometry",
        "One slice says that it lies 3 mm aside in x.",
        changed(_moved_aside),
        refuse=UNEVEN | MIXED | {"bad_value"},
    ),
    Fault(
        "orientation_changes",
        "geometry",
        "The second half of the slices is turned by 11 degrees.",
        _turned_half,
        refuse=MIXED,
    ),
    _sound(
        "oblique",
        "No axis of the slices is along the patient's: sound.",
        replace(SCAN, orientation=OBLIQUE),
    ),
    _sound("coronal", "A stack of coronal slices: sound.", replace(SCAN, orientation=CORONAL)),
    _sound("sagittal", "A stack of sagittal slices: sound.", replace(SCAN, orientation=SAGITTAL)),
    _sound(
        "rows_upwards", "Rows run from back to front, so the normal points down: sound.", FLIPPED
    ),
    _sound("prone", "Rows and columns both run backwards: sound.", PRONE),
    _sound("pixels_not_square", "Rows lie 0.5 mm apart, columns 0.9 mm: sound.", NON_SQUARE),
    Fault(
        "descending",
        "geometry",
        "Slices and instance numbers run from head to feet: sound.",
        _descending,
        _one(SCAN),
        must_read=True,
    ),
    Fault(
        "overlapping",
        "geometry",
        "Slices 5 mm thick every 2.5 mm: sound.",
        tagged(SliceThickness=5.0, SpacingBetweenSlices=2.5),
        _one(SCAN),
        must_read=True,
    ),
    Fault(
        "spacing_between_slices_lies",
        "geometry",
        "SpacingBetweenSlices says 1.0 mm, positions say 2.5 mm.",
        tagged(SpacingBetweenSlices=1.0),
        _one(SCAN),
        must_read=True,
    ),
    Fault(
        "slice_thickness_lies",
        "geometry",
        "SliceThickness says 10 mm and there is no other spacing tag; positions say 2.5 mm.",
        tagged(SliceThickness=10.0),
        _one(SCAN),
        must_read=True,
    ),
    Fault(
        "tilt_tag_lies",
        "geometry",
        "GantryDetectorTilt says 20 degrees, positions say none.",
        tagged(GantryDetectorTilt=20.0),
        _one(SCAN),
        must_read=True,
    ),
    Fault(
        "pixel_spacing_of_one_slice",
        "geometry",
        "One slice says that its pixels are 0.7 mm apart, the others 1.0 x 0.8 mm.",
        tagged(4, PixelSpacing=[0.7, 0.7]),
        refuse=MIXED | {"bad_value"},
    ),
    Fault(
        "other_frame_of_reference",
        "geometry",
        "The last four slices have another frame of reference: positions do not compare.",
        tagged(5, 6, 7, 8, FrameOfReferenceUID="1.2.3.4"),
        refuse=MIXED,
    ),
    _no_place(
        "position_missing",
        "One slice has no position.",
        tagged(4, ImagePositionPatient=None),
        "missing_slices",
    ),
    _no_place("positions_missing", "No slice has a position.", tagged(ImagePositionPatient=None)),
    _no_place(
        "orientation_missing", "No slice has an orientation.", tagged(ImageOrientationPatient=None)
    ),
    _no_place("pixel_spacing_missing", "No slice has a pixel spacing.", tagged(PixelSpacing=None)),
    _no_place("pixel_spacing_zero", "Pixels are 0 mm apart.", tagged(PixelSpacing=[0.0, 0.0])),
    _no_place("pixel_spacing_negative", "Rows are -1 mm apart.", tagged(PixelSpacing=[-1.0, 0.8])),
    _no_place(
        "pixel_spacing_tiny",
        "Pixels are 1e-300 mm apart.",
        worded("PixelSpacing", "1e-300\\1e-300"),
    ),
    _no_place(
        "pixel_spacing_huge", "Pixels are 1e+30 mm apart.", worded("PixelSpacing", "1e+30\\1e+30")
    ),
    _no_place(
        "positions_huge",
        "Slices lie 1e+30 mm away, and so all at one place.",
        worded("ImagePositionPatient", "0\\0\\1e+30"),
        "duplicate_positions",
    ),
    _no_place(
        "orientation_too_long",
        "Directions are twice as long as they may be.",
        tagged(ImageOrientationPatient=[2.0, 0.0, 0.0, 0.0, 2.0, 0.0]),
    ),
    _no_place(
        "orientation_not_square",
        "Rows and columns are not at right angles.",
        tagged(ImageOrientationPatient=[1.0, 0.0, 0.0, 0.6, 0.8, 0.0]),
    ),
    _no_place(
        "position_not_a_number",
        "The position of one slice is NaN.",
        worded("ImagePositionPatient", "nan\\nan\\nan", 4),
    ),
    _no_place(
        "position_infinite",
        "The position of one slice is infinite.",
        worded("ImagePositionPatient", "-16\\-18\\inf", 4),
    ),
    _no_place(
        "decimal_comma",
        "Pixel spacing is written with commas: 1,0 and 0,8.",
        worded("PixelSpacing", "1,0\\0,8"),
    ),
    _no_place(
        "orientation_zero", "Directions are all zero.", tagged(ImageOrientationPatient=[0.0] * 6)
    ),
)
"""Faults of place and shape."""
