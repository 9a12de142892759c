"""Files beside or among CT slices that are something else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import (
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    RTPlanStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    generate_uid,
)

from tests.faults.scan import CORONAL, SCAN, Scan
from tests.faults.slices import (
    OTHER_UID,
    SERIES_UID,
    ct_slice,
    ct_slices,
    kept,
    save,
    save_all,
    tagged,
)
from tests.faults.truth import Fault, Truth, exact

COUNT = SCAN.shape[0]
LOCALIZER = frozenset({"localizer", "too_few_slices"})
CAPTURE = frozenset({"secondary_capture", "derived_object", "not_ct", "not_hu"})
MIXED = frozenset({"mixed_series", "mixed_orientation"})
FEW = frozenset({"too_few_slices"})


def _localizer(series_uid: str) -> Dataset:
    scan = Scan(shape=(1, 48, 40), orientation=CORONAL, noise_seed=1)
    dataset = ct_slice(scan, scan.hu()[0], scan.positions()[0].tolist(), 40, series_uid)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    return dataset


def _capture(series_uid: str) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[series_uid, "capture"])
    dataset.StudyInstanceUID = SERIES_UID + ".1"
    dataset.SeriesInstanceUID = series_uid
    dataset.Modality = "CT"
    dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER", "DOSE_INFO"]
    dataset.InstanceNumber = 999
    dataset.ConversionType = "WSD"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = SCAN.shape[1:]
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = bytes(SCAN.shape[1] * SCAN.shape[2])
    dataset["PixelData"].VR = "OW"
    return dataset


def _segmentation(series_uid: str) -> Dataset:
    dataset = _capture(series_uid)
    dataset.SOPClassUID = SegmentationStorage
    dataset.Modality = "SEG"
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.NumberOfFrames = COUNT
    dataset.SegmentationType = "BINARY"
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit = 0
    dataset.PixelData = bytes(COUNT * SCAN.shape[1] * SCAN.shape[2] // 8)
    dataset["PixelData"].VR = "OW"
    return dataset


def _plan(series_uid: str) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = RTPlanStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[series_uid, "plan"])
    dataset.SeriesInstanceUID = series_uid
    dataset.Modality = "RTPLAN"
    return dataset


def _beside(make: Callable[[str], Dataset], series_uid: str) -> Callable[[Path], None]:
    """Return a writer that puts another object into the folder of a sound series."""

    def write(folder: Path) -> None:
        save_all(folder, ct_slices())
        save(make(series_uid), folder / "0000.dcm")

    return write


def _larger_slice(folder: Path) -> None:
    scan = replace(SCAN, shape=(COUNT, 40, 48))
    slices = ct_slices()
    slices[4] = ct_slices(scan)[4]
    save_all(folder, slices)


def _mr(folder: Path) -> None:
    slices = ct_slices()
    for dataset in slices:
        dataset.SOPClassUID, dataset.Modality = MRImageStorage, "MR"
        del dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType
    save_all(folder, slices)


def _mr_among_ct(folder: Path) -> None:
    slices = ct_slices()
    slices[4].SOPClassUID, slices[4].Modality = MRImageStorage, "MR"
    save_all(folder, slices)


def _pet(folder: Path) -> None:
    slices = ct_slices()
    for number, dataset in enumerate(slices):
        dataset.SOPClassUID, dataset.Modality = PositronEmissionTomographyImageStorage, "PT"
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.5 + number / 8, 0
        dataset.RescaleType = "BQML"
    save_all(folder, slices)


def _colour(_number: int, dataset: Dataset) -> None:
    dataset.SamplesPerPixel = 3
    dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = "RGB"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = np.zeros((*SCAN.shape[1:], 3), np.uint8).tobytes()


def _coloured(folder: Path) -> None:
    slices = ct_slices()
    for number, dataset in enumerate(slices):
        _colour(number, dataset)
    save_all(folder, slices)


def _one() -> list[Truth]:
    return [exact(SCAN)]


def _kept_truth(*numbers: int) -> Callable[[], list[Truth]]:
    """Return the truth of neighbouring slices alone."""
    scan = replace(
        SCAN,
        shape=(len(numbers), *SCAN.shape[1:]),
        along_mm=tuple((number - (COUNT - 1) / 2) * SCAN.spacing_mm[0] for number in numbers),
    )
    return lambda: [exact(scan, hu=SCAN.hu()[list(numbers)])]


def _stray(name: str, wrong: str, make: Callable[[str], Dataset], codes: frozenset[str]) -> Fault:
    """Return a fault in which a sound series has a neighbour of its own UID."""
    return Fault(name, "kinds", wrong, _beside(make, OTHER_UID), _one, must_read=True, refuse=codes)


KINDS = (
    _stray(
        "localizer_beside",
        "A localizer of its own series lies in the folder: CT is sound.",
        _localizer,
        LOCALIZER,
    ),
    Fault(
        "localizer_among",
        "kinds",
        "A localizer bears the series UID of the slices.",
        _beside(_localizer, SERIES_UID),
        _one,
        refuse=LOCALIZER | MIXED,
        say=LOCALIZER | MIXED,
    ),
    _stray(
        "dose_report_beside",
        "A dose report of its own series lies in the folder: CT is sound.",
        _capture,
        CAPTURE,
    ),
    Fault(
        "dose_report_among",
        "kinds",
        "A dose report bears the series UID of the slices.",
        _beside(_capture, SERIES_UID),
        _one,
        refuse=CAPTURE | MIXED,
        say=CAPTURE | MIXED,
    ),
    _stray(
        "segmentation_beside",
        "A segmentation object lies in the folder: CT is sound.",
        _segmentation,
        frozenset({"derived_object", "not_ct", "not_an_image"}),
    ),
    _stray(
        "plan_beside",
        "A radiotherapy plan lies in the folder: CT is sound.",
        _plan,
        frozenset({"not_an_image", "not_ct"}),
    ),
    Fault("mr", "kinds", "MR slices, not CT.", _mr, asks_for_ct=True, refuse=frozenset({"not_ct"})),
    Fault(
        "mr_among",
        "kinds",
        "One slice is of MR, under the series UID of the CT.",
        _mr_among_ct,
        refuse=frozenset({"not_ct", "mixed_series"}),
    ),
    Fault(
        "pet",
        "kinds",
        "PET slices in Bq/ml.",
        _pet,
        asks_for_ct=True,
        refuse=frozenset({"not_ct", "not_hu"}),
    ),
    Fault(
        "projection",
        "kinds",
        "Maximum intensity projections, derived from CT.",
        tagged(ImageType=["DERIVED", "SECONDARY", "MIP"]),
        asks_for_ct=True,
        refuse=frozenset({"derived_object"}),
    ),
    Fault(
        "colour",
        "kinds",
        "Slices in colour.",
        _coloured,
        asks_for_ct=True,
        refuse=frozenset({"not_hu", "secondary_capture", "not_ct"}),
    ),
    Fault(
        "modality_missing",
        "kinds",
        "No slice says what kind of object it is.",
        tagged(Modality=None, ImageType=None),
        _one,
        refuse=frozenset({"not_ct", "no_sop_class", "missing_data"}),
        say=frozenset({"not_ct", "no_sop_class", "missing_data"}),
    ),
    Fault(
        "slice_of_other_size",
        "kinds",
        "One slice has 48x40 pixels, the others 40x32.",
        _larger_slice,
        refuse=frozenset({"mixed_series", "wrong_dimensions"}),
    ),
    Fault(
        "one_slice",
        "kinds",
        "One slice, so no distance of slices.",
        kept(4),
        _kept_truth(4),
        refuse=FEW,
        say=FEW,
    ),
    Fault(
        "two_slices",
        "kinds",
        "Two slices, so nothing to check their distance by.",
        kept(4, 5),
        _kept_truth(4, 5),
        refuse=FEW,
        say=FEW,
    ),
)
"""Faults of what a file is."""
