"""Small CTs in every way in which a pyramid is made of them, and a process that makes one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.uid import JPEGLSLossless

from medvit.io.pyramids import open_pyramid
from medvit.io.scratch import Scratch
from tests.make.dicom import CtSeries, ct_slice, save, write_series
from tests.make.nifti import write_nifti
from tests.make.volumes import write_metaimage, write_nrrd, write_zarr

Values = npt.NDArray[Any]

SHAPE = (11, 141, 68)
SLAB_BYTES = 4 * 4 * 141 * 68
"""Four slices."""


def values_of(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> Values:
    """Return noise in whole HU with air in every slice."""
    hu = np.random.default_rng(seed).integers(-1000, 2000, shape).astype(np.int16)
    hu[:, 0, 0] = -1024
    return hu


def write_jpeg_ls(folder: Path, hu: Values) -> Path:
    """Write a series of JPEG-LS slices."""
    series = CtSeries(hu=hu)
    for number in range(len(hu)):
        path = folder / f"{number:03d}.dcm"
        dataset = ct_slice(series, number)
        save(dataset, path)
        dataset.compress(JPEGLSLossless, generate_instance_uid=False)
        dataset.save_as(path, enforce_file_format=True)
    return folder


def write_dicom(folder: Path, hu: Values) -> Path:
    """Write a series of uncompressed slices."""
    write_series(folder, CtSeries(hu=hu))
    return folder


def _nifti(name: str, **more: Any) -> Callable[[Path, Values], Path]:
    return lambda folder, hu: write_nifti(folder / name, hu.transpose(2, 1, 0), **more)


PLAIN: dict[str, Callable[[Path, Values], Path]] = {
    "dicom": write_dicom,
    "nii": _nifti("a.nii"),
    "mha": lambda folder, hu: write_metaimage(folder / "a.mha", hu),
    "nrrd": lambda folder, hu: write_nrrd(folder / "a.nrrd", hu),
    "zarr": lambda folder, hu: write_zarr(folder / "a.zarr", hu, chunks=(4, 64, 64)),
}
PACKED: dict[str, Callable[[Path, Values], Path]] = {
    "jpeg_ls": write_jpeg_ls,
    "nii_gz": _nifti("a.nii.gz"),
    # Slices from the head down, so that they cannot be taken as they come.
    "nii_gz_turned": _nifti("a.nii.gz", affine_ras=np.diag([2.0, 2.0, -2.0, 1.0])),
    "zraw": lambda folder, hu: write_metaimage(folder / "a.mhd", hu, is_packed=True),
    "nrrd_bzip2": lambda folder, hu: write_nrrd(folder / "a.nrrd", hu, encoding="bzip2"),
}


def write_ct(kind: str, folder: Path, hu: Values) -> Path:
    """Write a CT of one of the kinds above into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    return (PLAIN | PACKED)[kind](folder, hu)


def open_and_tell(path: Path, cache: Path, stop_after: int | None) -> None:
    """Open a pyramid; print a line for each slab, and wait for the end after some slices."""

    def tell(done: int, total: int) -> None:
        print(done, total, flush=True)
        if stop_after is not None and done >= stop_after:
            time.sleep(600)

    pyramid = open_pyramid(path, scratch=Scratch.below(cache), progress=tell, slab_bytes=SLAB_BYTES)
    print("sum", float(pyramid.levels[0].read_all().sum()), flush=True)


if __name__ == "__main__":
    import sys

    stop_after = int(sys.argv[3]) if len(sys.argv) > 3 else None
    open_and_tell(Path(sys.argv[1]), Path(sys.argv[2]), stop_after)
