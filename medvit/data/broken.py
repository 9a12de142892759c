"""Small cases with one fault each, and what triage must say about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from medvit.data.dicom_writer import write_series
from medvit.data.phantom import Phantom
from medvit.geometry import affine_from

SIDE_PX = 64
N_SLICES = 8
PIXEL_MM, STEP_MM = 5.0, 4.0


@dataclass(frozen=True, slots=True)
class BrokenCase:
    """A case on disk and the reason code that it must get.

    Attributes:
        path: A file, or the folder of a series.
        expected_reason: From triage, whether it refuses or repairs, or from the reader where
            only decoding shows the fault; `ok` for what looks odd and is sound.
    """

    path: Path
    expected_reason: str


def write_broken_cases(folder: Path) -> tuple[BrokenCase, ...]:
    """Write one case of each fault, under 1 MB together, in the order of their names.

    Raises:
        OSError: If the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    for name in sorted(_FAULTS):
        write, reason = _FAULTS[name]
        write(folder / name)
        cases.append(BrokenCase(folder / name, reason))
    return tuple(cases)


def _small_chest() -> Phantom:
    """Return a body with two lungs, made of ellipses."""
    y, x = np.mgrid[-1 : 1 : SIDE_PX * 1j, -1 : 1 : SIDE_PX * 1j]
    hu = np.full((N_SLICES, SIDE_PX, SIDE_PX), -1000, np.int16)
    hu[:, (x / 0.9) ** 2 + (y / 0.65) ** 2 < 1] = 40
    lungs = ((np.abs(x) - 0.42) / 0.3) ** 2 + (y / 0.45) ** 2 < 1
    hu[:, lungs] = -850
    half_mm = PIXEL_MM * SIDE_PX / 2
    affine = affine_from(
        (-half_mm, -half_mm, 0.0), (0, 0, STEP_MM), (0, PIXEL_MM, 0), (PIXEL_MM, 0, 0)
    )
    mask = np.broadcast_to(lungs, hu.shape).copy()
    return Phantom(hu, mask, (STEP_MM, PIXEL_MM, PIXEL_MM), affine, ())


def _write_sound(folder: Path, *, seed: int = 1) -> list[Path]:
    """Write a sound series and return its files in spatial order."""
    write_series(_small_chest(), folder, seed=seed)
    return sorted(folder.iterdir(), key=lambda path: int(pydicom.dcmread(path).InstanceNumber))


def _edit(path: Path, change: Callable[[Dataset], None]) -> None:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path, enforce_file_format=True)


def _edit_all(folder: Path, change: Callable[[Dataset], None]) -> None:
    for path in _write_sound(folder):
        _edit(path, change)


def _text(path: Path) -> None:
    path.write_text("This is a note about a patient who does not exist.\n" * 8, encoding="utf-8")


def _truncated_slice(folder: Path) -> None:
    victim = _write_sound(folder)[N_SLICES // 2]
    whole = victim.read_bytes()
    victim.write_bytes(whole[: len(whole) * 2 // 3])


def _colour_capture(folder: Path) -> None:
    def change(dataset: Dataset) -> None:
        dataset.SOPClassUID = SecondaryCaptureImageStorage
        dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
        dataset.SamplesPerPixel = 3
        dataset.PlanarConfiguration = 0
        dataset.PhotometricInterpretation = "RGB"
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit = 7
        dataset.PixelRepresentation = 0
        dataset.PixelData = bytes(3 * SIDE_PX * SIDE_PX)
        dataset["PixelData"].VR = "OB"
        for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
            delattr(dataset, keyword)

    first, *others = _write_sound(folder)
    for path in others:
        path.unlink()
    _edit(first, change)


def _two_series(folder: Path) -> None:
    for seed in (1, 2):
        for path in _write_sound(folder / "part", seed=seed):
            path.rename(folder / f"{seed}-{path.name}")
    (folder / "part").rmdir()


def _missing_slices(folder: Path) -> None:
    for path in _write_sound(folder)[3:5]:
        path.unlink()


def _gantry_tilt(folder: Path) -> None:
    angle = np.deg2rad(12)

    def change(dataset: Dataset) -> None:
        down = [0, float(np.cos(angle)), float(np.sin(angle))]
        dataset.ImageOrientationPatient = [1, 0, 0, *(f"{value:.9f}" for value in down)]
        dataset.GantryDetectorTilt = "12"

    _edit_all(folder, change)


def _duplicate_positions(folder: Path) -> None:
    files = _write_sound(folder)
    dataset = pydicom.dcmread(files[2])
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["medvit broken", "duplicate"])
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.InstanceNumber = N_SLICES + 1
    dataset.save_as(folder / "again.dcm", enforce_file_format=True)


def _localizer(folder: Path) -> None:
    def change(dataset: Dataset) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    first, *others = _write_sound(folder)
    for path in others:
        path.unlink()
    _edit(first, change)


def _magnetic_resonance(folder: Path) -> None:
    def change(dataset: Dataset) -> None:
        dataset.Modality = "MR"

    _edit_all(folder, change)


def _no_rescale(folder: Path) -> None:
    def change(dataset: Dataset) -> None:
        del dataset.RescaleSlope
        del dataset.RescaleIntercept

    _edit_all(folder, change)


def _steel() -> NDArray[np.uint8]:
    rows = np.arange(SIDE_PX)[:, None] * 2
    return (rows + np.random.default_rng(0).integers(0, 60, (SIDE_PX, SIDE_PX))).astype(np.uint8)


def _one_pixel(path: Path) -> None:
    Image.fromarray(_steel()[:1, :1]).save(path)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut_image(path: Path) -> None:
    Image.fromarray(_steel()).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def _sixteen_bit(path: Path) -> None:
    Image.fromarray(_steel().astype(np.uint16) * 200).save(path)


def _four_dimensional(path: Path) -> None:
    values = np.zeros((12, 12, 8, 3), np.int16)
    nifti1: Any = nib.nifti1
    nifti1.Nifti1Image(values, np.diag([2.0, 2.0, 2.0, 1.0])).to_filename(path)


_FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "colour_capture": (_colour_capture, "secondary_capture"),
    "cut.png": (_cut_image, "truncated"),
    "duplicate_positions": (_duplicate_positions, "duplicate_positions"),
    "empty.png": (_empty, "not_an_image"),
    "four_dimensional.nii.gz": (_four_dimensional, "wrong_dimensions"),
    "gantry_tilt": (_gantry_tilt, "gantry_tilt"),
    "localizer": (_localizer, "localizer"),
    "magnetic_resonance": (_magnetic_resonance, "not_ct"),
    "missing_slices": (_missing_slices, "missing_slices"),
    "no_rescale": (_no_rescale, "not_hu"),
    "note.dcm": (_text, "not_dicom"),
    "one_pixel.png": (_one_pixel, "too_small"),
    "sixteen_bit.png": (_sixteen_bit, "ok"),
    "truncated_slice": (_truncated_slice, "truncated"),
    "two_series": (_two_series, "ok"),
}
