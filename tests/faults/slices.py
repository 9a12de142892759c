"""The slices of a scan as DICOM data sets, changed at will and written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from tests.faults.scan import SCAN, Scan, Values

SERIES_UID = "1.2.826.0.1.3680043.8.498.3001"
OTHER_UID = "1.2.826.0.1.3680043.8.498.3002"
INTERCEPT = -1024

Change = Callable[[int, Dataset], None]
Writer = Callable[[Path], None]


def ct_slices(
    scan: Scan = SCAN, *, series_uid: str = SERIES_UID, hu: Values | None = None
) -> list[Dataset]:
    """Return a sound series: signed 16 bit, HU = stored - 1024."""
    values = scan.hu() if hu is None else hu
    return [
        ct_slice(scan, values[number], position.tolist(), number, series_uid)
        for number, position in enumerate(scan.positions())
    ]


def ct_slice(
    scan: Scan, hu: Values, position: Iterable[float], number: int, series_uid: str = SERIES_UID
) -> Dataset:
    """Return one slice, ready for `save`."""
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[series_uid, str(number)])
    dataset.StudyInstanceUID = SERIES_UID + ".1"
    dataset.SeriesInstanceUID = series_uid
    dataset.FrameOfReferenceUID = SERIES_UID + ".2"
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName = "Fault^Made"
    dataset.PatientID = "MADE"
    dataset.SeriesNumber = 1
    dataset.AcquisitionNumber = 1
    dataset.InstanceNumber = number + 1
    dataset.ImagePositionPatient = [round(value, 6) for value in position]
    dataset.ImageOrientationPatient = [round(value, 9) for value in scan.orientation]
    dataset.PixelSpacing = [scan.spacing_mm[1], scan.spacing_mm[2]]
    dataset.SliceThickness = scan.spacing_mm[0]
    dataset.ConvolutionKernel = "B30f"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = hu.shape
    dataset.RescaleType = "HU"
    store(dataset, hu)
    return dataset


def store(
    dataset: Dataset,
    hu: Values,
    *,
    intercept: float = INTERCEPT,
    slope: float = 1.0,
    signed: bool = True,
) -> None:
    """Put HU into a data set as 16 bit pixels; HU must fall on stored values."""
    stored = np.rint((hu - intercept) / slope).astype(np.int32)
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = int(signed)
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    put_words(dataset, stored)


def put_words(dataset: Dataset, words: Values, *, order: str = "<") -> None:
    """Put the low 16 bits of every word into the pixels."""
    dataset.PixelData = (words & 0xFFFF).astype(f"{order}u2").tobytes()
    dataset["PixelData"].VR = "OW"


def save(
    dataset: Dataset, path: Path, *, syntax: str = ExplicitVRLittleEndian, like: str = ""
) -> Path:
    """Write a data set with file meta information.

    Args:
        syntax: How it is written.
        like: The transfer syntax it claims, when that is another one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta = meta
    dataset.save_as(path, enforce_file_format=True)
    if like:
        path.write_bytes(_relabelled(path.read_bytes(), syntax, like))
    return path


def save_all(
    folder: Path, slices: Iterable[Dataset], *, syntax: str = ExplicitVRLittleEndian
) -> list[Path]:
    """Write slices under plain names in the order given."""
    return [
        save(dataset, folder / f"{number:04d}.dcm", syntax=syntax)
        for number, dataset in enumerate(slices, start=1)
    ]


def changed(change: Change, scan: Scan = SCAN) -> Writer:
    """Return a writer of a series in which every slice was changed."""

    def write(folder: Path) -> None:
        slices = ct_slices(scan)
        for number, dataset in enumerate(slices):
            change(number, dataset)
        save_all(folder, slices)

    return write


def tagged(*only: int, scan: Scan = SCAN, **tags: object) -> Writer:
    """Return a writer that sets tags, None removing one; in all slices, or those named."""

    def change(number: int, dataset: Dataset) -> None:
        if only and number not in only:
            return
        for keyword, value in tags.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return changed(change, scan)


def kept(*numbers: int, scan: Scan = SCAN) -> Writer:
    """Return a writer of some of the slices of a scan."""

    def write(folder: Path) -> None:
        slices = ct_slices(scan)
        save_all(folder, [slices[number] for number in numbers])

    return write


def spoiled(spoil: Callable[[bytes], bytes], *only: int) -> Writer:
    """Return a writer of a sound series whose files are then changed as bytes."""

    def write(folder: Path) -> None:
        for number, path in enumerate(save_all(folder, ct_slices())):
            if not only or number in only:
                path.write_bytes(spoil(path.read_bytes()))

    return write


def worded(keyword: str, text: str, *only: int) -> Writer:
    """Return a writer of a sound series in which one value is any text at all."""
    tag = tag_for_keyword(keyword) or 0
    head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")

    def spoil(raw: bytes) -> bytes:
        place = raw.index(head, 132)
        end = place + 8 + int.from_bytes(raw[place + 6 : place + 8], "little")
        value = text.encode() + b" " * (len(text) % 2)
        new = raw[place : place + 6] + len(value).to_bytes(2, "little") + value
        return raw[:place] + new + raw[end:]

    return spoiled(spoil, *only)


def _relabelled(raw: bytes, syntax: str, like: str) -> bytes:
    """Change the transfer syntax of a written file and nothing else."""
    old, new = uid_element(syntax), uid_element(like)
    if len(old) != len(new):
        # The group length element (0002,0000) counts the bytes after itself.
        place = raw.index(b"\x02\x00\x00\x00UL\x04\x00") + 8
        length = int.from_bytes(raw[place : place + 4], "little") + len(new) - len(old)
        raw = raw[:place] + length.to_bytes(4, "little") + raw[place + 4 :]
    return raw.replace(old, new, 1)


def uid_element(uid: str) -> bytes:
    """Return the transfer syntax element of a file."""
    value = uid.encode() + b"\0" * (len(uid) % 2)
    return b"\x02\x00\x10\x00UI" + len(value).to_bytes(2, "little") + value
