"""Enhanced multi-frame CT: one file, one functional group a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import EnhancedCTImageStorage, generate_uid

from tests.faults.scan import SCAN, Scan, Values
from tests.faults.slices import INTERCEPT, SERIES_UID, put_words, save
from tests.faults.truth import Fault, Truth, exact, resampled

COUNT = SCAN.shape[0]
OTHER = replace(SCAN, noise_seed=8)
SMOOTH = replace(SCAN, noise_seed=None)
TIMES = frozenset({"wrong_dimensions", "mixed_series", "duplicate_positions"})
GAPS = frozenset({"missing_slices", "uneven_spacing", "wrong_dimensions"})
NO_PLACE = frozenset({"no_position", "missing_data", "bad_value", "wrong_dimensions"})

Places = Sequence[tuple[int, int]]
"""For each frame its slice and its point in time."""


def multi_frame(scan: Scan, hu: Values, places: Places) -> Dataset:
    """Return an Enhanced CT image of frames `(z, y, x)` at given slices of a scan."""
    dataset = Dataset()
    dataset.SOPClassUID = EnhancedCTImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["multi-frame"])
    dataset.StudyInstanceUID = SERIES_UID + ".1"
    dataset.SeriesInstanceUID = SERIES_UID
    dataset.FrameOfReferenceUID = SERIES_UID + ".2"
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.InstanceNumber = 1
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.NumberOfFrames = len(hu)
    dataset.Rows, dataset.Columns = hu.shape[1:]
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.SharedFunctionalGroupsSequence = Items([_shared(scan)])
    dataset.PerFrameFunctionalGroupsSequence = Items(
        [_frame(scan, number, time) for number, time in places]
    )
    put_words(dataset, hu - INTERCEPT)
    return dataset


def _shared(scan: Scan) -> Dataset:
    measures, orientation, values, kind, group = (Dataset() for _ in range(5))
    measures.PixelSpacing = [scan.spacing_mm[1], scan.spacing_mm[2]]
    measures.SliceThickness = scan.spacing_mm[0]
    orientation.ImageOrientationPatient = list(scan.orientation)
    values.RescaleIntercept, values.RescaleSlope, values.RescaleType = INTERCEPT, 1, "HU"
    kind.FrameType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    group.PixelMeasuresSequence = Items([measures])
    group.PlaneOrientationSequence = Items([orientation])
    group.PixelValueTransformationSequence = Items([values])
    group.CTImageFrameTypeSequence = Items([kind])
    return group


def _frame(scan: Scan, number: int, time: int) -> Dataset:
    place, content, group = Dataset(), Dataset(), Dataset()
    place.ImagePositionPatient = [round(v, 6) for v in scan.positions()[number].tolist()]
    content.StackID = "1"
    content.InStackPositionNumber = number + 1
    content.TemporalPositionIndex = time
    content.DimensionIndexValues = [1, number + 1, time]
    group.PlanePositionSequence = Items([place])
    group.FrameContentSequence = Items([content])
    return group


def _regular(folder: Path) -> None:
    save(multi_frame(SCAN, SCAN.hu(), [(n, 1) for n in range(COUNT)]), folder / "ct.dcm")


def _shuffled(folder: Path) -> None:
    order = np.random.default_rng(5).permutation(COUNT)
    places = [(int(number), 1) for number in order]
    save(multi_frame(SCAN, SCAN.hu()[order], places), folder / "ct.dcm")


def _two_times(folder: Path) -> None:
    places = [(number, time) for time in (1, 2) for number in range(COUNT)]
    hu = np.concatenate([SCAN.hu(), OTHER.hu()])
    save(multi_frame(SCAN, hu, places), folder / "ct.dcm")


def _frame_missing(folder: Path) -> None:
    numbers = [n for n in range(COUNT) if n != 4]
    dataset = multi_frame(SMOOTH, SMOOTH.hu()[numbers], [(n, 1) for n in numbers])
    save(dataset, folder / "ct.dcm")


def _rescale_each(folder: Path) -> None:
    places = [(number, 1) for number in range(COUNT)]
    hu = SCAN.hu()
    dataset = multi_frame(SCAN, hu, places)
    del dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    words = hu.copy()
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        values = Dataset()
        values.RescaleIntercept, values.RescaleSlope = -1024 - number, 1
        values.RescaleType = "HU"
        group.PixelValueTransformationSequence = Items([values])
        words[number] = hu[number] + 1024 + number
    put_words(dataset, words)
    save(dataset, folder / "ct.dcm")


def _groups_missing(folder: Path) -> None:
    dataset = multi_frame(SCAN, SCAN.hu(), [(n, 1) for n in range(COUNT)])
    del dataset.PerFrameFunctionalGroupsSequence[5:]
    save(dataset, folder / "ct.dcm")


def _one() -> list[Truth]:
    return [exact(SCAN)]


def _sound(name: str, wrong: str, write: Callable[[Path], None]) -> Fault:
    return Fault(name, "frames", wrong, write, _one, must_read=True)


FRAMES = (
    _sound("enhanced", "Enhanced multi-frame CT: sound.", _regular),
    _sound(
        "enhanced_shuffled", "Enhanced CT whose frames are not in spatial order: sound.", _shuffled
    ),
    _sound(
        "enhanced_rescale_of_each",
        "Enhanced CT with an intercept of each frame: sound.",
        _rescale_each,
    ),
    Fault(
        "enhanced_two_times",
        "frames",
        "Enhanced CT of two points in time.",
        _two_times,
        lambda: [exact(SCAN), exact(OTHER)],
        refuse=TIMES,
    ),
    Fault(
        "enhanced_frame_missing",
        "frames",
        "Enhanced CT without one frame in the middle.",
        _frame_missing,
        lambda: [resampled(SMOOTH)],
        refuse=GAPS,
        say=GAPS,
    ),
    Fault(
        "enhanced_groups_missing",
        "frames",
        "Enhanced CT that tells the place of five frames of nine.",
        _groups_missing,
        refuse=NO_PLACE,
    ),
)
"""Faults of multi-frame files."""
