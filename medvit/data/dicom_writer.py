"""Phantoms as DICOM: a sound CT series in a folder, and its nodules as LUNA16 annotations."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from medvit import atomic
from medvit.data.phantom import Phantom, PlantedNodule

INTERCEPT_HU = -1024
ANNOTATION_COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm")
UNIT = "medvit phantom"


def write_series(phantom: Phantom, folder: Path, *, seed: int, kernel: str = "STANDARD") -> str:
    """Write one file a slice and return the series UID; the names say nothing about the order.

    The same seed gives the same UIDs. The patient is called PHANTOM.

    Raises:
        OSError: If the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series = _series_tags(phantom, seed=seed, kernel=kernel)
    names = np.random.default_rng(seed).permutation(len(phantom.hu))
    for index, name in enumerate(names):
        dataset = _slice(phantom, series, index)
        dataset.save_as(folder / f"IM{name:05d}.dcm", enforce_file_format=True)
    return str(series.SeriesInstanceUID)


def write_annotations(
    path: Path, nodules: Sequence[tuple[str, PlantedNodule]], *, with_kind: bool = False
) -> None:
    """Write nodules with their series UIDs as LUNA16 rows: LPS mm and diameter.

    Args:
        with_kind: Add the columns `kind` and `site`, which LUNA16 does not have.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*ANNOTATION_COLUMNS, *(("kind", "site") if with_kind else ())])
    for series_uid, nodule in nodules:
        numbers = [f"{value:.3f}" for value in (*nodule.centre_lps_mm, nodule.diameter_mm)]
        extra = (nodule.kind, nodule.site) if with_kind else ()
        writer.writerow([series_uid, *numbers, *extra])
    atomic.write_text(path, text.getvalue())


def _uid(seed: int, *parts: str) -> str:
    return str(generate_uid(entropy_srcs=[UNIT, str(seed), *parts]))


def _series_tags(phantom: Phantom, *, seed: int, kernel: str) -> Dataset:
    """Return what all slices share."""
    tags = Dataset()
    tags.SOPClassUID = CTImageStorage
    tags.StudyInstanceUID = _uid(seed, "study")
    tags.SeriesInstanceUID = _uid(seed, "series")
    tags.FrameOfReferenceUID = _uid(seed, "frame")
    tags.Modality = "CT"
    tags.Manufacturer = "medvit"
    tags.ManufacturerModelName = "made chest, not a patient"
    tags.PatientName = "PHANTOM^CHEST"
    tags.PatientID = f"PHANTOM-{seed}"
    tags.PatientBirthDate = ""
    tags.PatientSex = "O"
    tags.PatientPosition = "HFS"
    tags.StudyDate = tags.SeriesDate = "20000101"
    tags.StudyTime = "120000"
    tags.StudyID = str(seed % 10**16)
    tags.AccessionNumber = ""
    tags.ReferringPhysicianName = ""
    tags.StudyDescription = "PHANTOM"
    tags.SeriesDescription = "PHANTOM CHEST"
    tags.SeriesNumber = 1
    tags.BodyPartExamined = "CHEST"
    tags.BurnedInAnnotation = "NO"
    tags.KVP = 120
    tags.ConvolutionKernel = kernel
    tags.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    _add_pixel_tags(tags, phantom)
    return tags


def _add_pixel_tags(tags: Dataset, phantom: Phantom) -> None:
    z_mm, y_mm, x_mm = phantom.spacing_mm
    along_row = phantom.affine_lps[:3, 2] / x_mm
    along_column = phantom.affine_lps[:3, 1] / y_mm
    tags.ImageOrientationPatient = _decimals((*along_row, *along_column))
    tags.PixelSpacing = _decimals((y_mm, x_mm))
    tags.SliceThickness = _decimals((z_mm,))[0]
    tags.SpacingBetweenSlices = tags.SliceThickness
    _, tags.Rows, tags.Columns = phantom.hu.shape
    tags.SamplesPerPixel = 1
    tags.PhotometricInterpretation = "MONOCHROME2"
    tags.BitsAllocated = tags.BitsStored = 16
    tags.HighBit = 15
    tags.PixelRepresentation = 1
    tags.RescaleIntercept = INTERCEPT_HU
    tags.RescaleSlope = 1
    tags.RescaleType = "HU"
    tags.WindowCenter = -600
    tags.WindowWidth = 1500


def _slice(phantom: Phantom, series: Dataset, index: int) -> Dataset:
    dataset = Dataset(series)
    dataset.SOPInstanceUID = _uid_of_slice(series, index)
    dataset.InstanceNumber = index + 1
    position = phantom.affine_lps @ np.array([index, 0.0, 0.0, 1.0])
    dataset.ImagePositionPatient = _decimals(position[:3])
    dataset.SliceLocation = dataset.ImagePositionPatient[2]
    stored = phantom.hu[index].astype(np.int32) - INTERCEPT_HU
    dataset.PixelData = stored.astype("<i2").tobytes()
    dataset["PixelData"].VR = "OW"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    return dataset


def _uid_of_slice(series: Dataset, index: int) -> str:
    return str(generate_uid(entropy_srcs=[str(series.SeriesInstanceUID), str(index)]))


def _decimals(values: Sequence[float] | NDArray[np.float64]) -> list[str]:
    """Return decimal strings of at most 16 characters, as DICOM wants them."""
    return [f"{float(value):.6f}".rstrip("0").rstrip(".") for value in values]
