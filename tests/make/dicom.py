"""Tiny CT series in DICOM, sound and broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    RTPlanStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


@dataclass(frozen=True, slots=True)
class CtSeries:
    """What a series holds; every field has a plain default.

    Attributes:
        hu: Values `(z, y, x)`; a ramp of 5 slices of 16x12 when not given.
        spacing_mm: Along `(z, y, x)`; z along the normal.
        origin_lps_mm: First pixel of the first slice.
        orientation: Direction of increasing column, then of increasing row.
        step_lps_mm: Way from slice to slice; the normal times the z spacing when None.
        intercept: HU of stored value 0; stored values are HU minus it, 16 bit.
    """

    hu: npt.NDArray[np.int16] = field(default_factory=lambda: ramp((5, 16, 12)))
    spacing_mm: tuple[float, float, float] = (2.0, 1.0, 0.5)
    origin_lps_mm: tuple[float, float, float] = (-10.0, -20.0, -30.0)
    orientation: tuple[float, ...] = AXIAL
    step_lps_mm: tuple[float, float, float] | None = None
    intercept: int = -1024
    series_uid: str = "1.2.826.0.1.3680043.8.498.1"

    def positions(self) -> npt.NDArray[np.float64]:
        """Return the position of every slice, `(n, 3)` LPS mm."""
        normal = np.cross(self.orientation[:3], self.orientation[3:])
        step = normal * self.spacing_mm[0] if self.step_lps_mm is None else self.step_lps_mm
        numbers = np.arange(len(self.hu), dtype=np.float64)
        places: npt.NDArray[np.float64] = self.origin_lps_mm + np.outer(numbers, step)
        return places


def ramp(shape: tuple[int, int, int]) -> npt.NDArray[np.int16]:
    """Return values that tell every voxel apart: -1000 upwards."""
    return (np.arange(np.prod(shape)) % 4000 - 1000).reshape(shape).astype(np.int16)


def ct_slice(series: CtSeries, index: int) -> Dataset:
    """Return one slice of a series as a data set, ready for `save`."""
    stored = (series.hu[index].astype(np.int32) - series.intercept).astype("<i2")
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[series.series_uid, str(index)])
    dataset.SeriesInstanceUID = series.series_uid
    dataset.StudyInstanceUID = series.series_uid + ".1"
    dataset.FrameOfReferenceUID = series.series_uid + ".2"
    dataset.Modality = "CT"
    dataset.PatientName = "Secret^Person"
    dataset.PatientID = "SECRET-ID"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.InstanceNumber = index + 1
    dataset.ImagePositionPatient = [round(float(v), 6) for v in series.positions()[index]]
    dataset.ImageOrientationPatient = [round(v, 9) for v in series.orientation]
    dataset.PixelSpacing = [series.spacing_mm[1], series.spacing_mm[2]]
    dataset.SliceThickness = series.spacing_mm[0]
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.RescaleSlope = 1
    dataset.RescaleIntercept = series.intercept
    dataset.RescaleType = "HU"
    dataset.PixelData = stored.tobytes()
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    """Write a data set as Explicit VR Little Endian and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_series(
    folder: Path, series: CtSeries | None = None, *, names: Sequence[str] = ()
) -> tuple[Path, ...]:
    """Write a series, one file a slice, and return the paths in spatial order.

    File names run against the spatial order unless `names` gives them.
    """
    series = series or CtSeries()
    count = len(series.hu)
    names = names or [f"{count - index:04d}.dcm" for index in range(count)]
    return tuple(save(ct_slice(series, i), folder / name) for i, name in enumerate(names))


def compressed_slice(path: Path, syntax: UID) -> Path:
    """Write one slice of 64x64 in a compressed transfer syntax; JPEG 2000 wants that much."""
    dataset = ct_slice(CtSeries(hu=ramp((1, 64, 64))), 0)
    save(dataset, path)
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)
    return path


def edit(path: Path, **tags: object) -> Path:
    """Change tags of a written file in place; None removes one."""
    dataset = pydicom.dcmread(path)
    for keyword, value in tags.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


def truncate(path: Path, *, lost_bytes: int = 40) -> Path:
    """Cut the end off a file."""
    path.write_bytes(path.read_bytes()[:-lost_bytes])
    return path


def write_text(path: Path) -> Path:
    """Write a text file that claims by its name to be DICOM."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("This is a note, not an image.\n" * 20)
    return path


def write_secondary_capture(path: Path, *, series_uid: str = "1.2.826.0.1.3680043.8.498.7") -> Path:
    """Write an RGB screen shot as DICOM."""
    dataset = Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = series_uid + ".1"
    dataset.SeriesInstanceUID = series_uid
    dataset.Modality = "OT"
    dataset.ConversionType = "WSD"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.Rows = dataset.Columns = 16
    dataset.SamplesPerPixel = 3
    dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = "RGB"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = bytes(16 * 16 * 3)
    return save(dataset, path)


def write_rt_plan(path: Path) -> Path:
    """Write a radiotherapy plan: sound DICOM without an image."""
    dataset = Dataset()
    dataset.SOPClassUID = RTPlanStorage
    dataset.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.8.1"
    dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.8"
    dataset.Modality = "RTPLAN"
    return save(dataset, path)
