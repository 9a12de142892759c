"""Writing NIfTI-1, the one NIfTI that ITK reads too: LPS becomes RAS here."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np

from medvit.errors import InputError
from medvit.geometry import Affine
from medvit.io.writing.drafts import draft_file
from medvit.io.writing.slabs import Progress, write_exactly
from medvit.volume.levels import Slab
from medvit.volume.volume import Volume

MOST_VOXELS_AN_AXIS = 32767
"""NIfTI-1 counts voxels in int16."""

SCANNER_CODE = 1
"""The form code for coordinates of the scanner."""

COMMENT_CODE = 6
"""The extension code for text; readers pass over it."""

GZIP_LEVEL = 1
"""CT hardly shrinks further: level 6 saves 0.3 % of a chest and takes 2.6 times as long."""


def write_nifti(volume: Volume, path: Path, *, progress: Progress | None = None) -> np.dtype[Any]:
    """Write a volume as `.nii` or `.nii.gz` and return the type of its voxels.

    sform and qform hold the same place, in mm, with code 1. Both are single precision in
    NIfTI-1, up to 6e-5 mm off; the exact affine goes along in an extension of code 6, the
    JSON text `{"medvit": {"affine_ras": 4x4}}`. The same volume gives the same bytes.

    Raises:
        InputError: If an axis has more voxels than NIfTI-1 can count.
        ReadError: If the volume cannot be read.
        OSError: If the file cannot be written; nothing is left of it.
    """
    if max(volume.shape) > MOST_VOXELS_AN_AXIS:
        msg = (
            f"{path.name}: NIfTI-1 counts {MOST_VOXELS_AN_AXIS} voxels an axis, "
            f"the volume has {volume.shape}"
        )
        raise InputError(msg, hint="write .mha or .ome.zarr")
    with draft_file(path) as file:

        def write(dtype: np.dtype[Any], slabs: Iterator[Slab]) -> None:
            file.seek(0)
            file.truncate()
            with _packed(file, path) as stream:
                _header(volume, dtype).write_to(stream)
                for slab in slabs:
                    stream.write(np.ascontiguousarray(slab).data)

        return write_exactly(volume, write, progress=progress)


def misplaced_mm(volume: Volume) -> float:
    """Return how far from its place a reader that knows right angles only puts a voxel.

    ITK is one: it leaves an sform with slightly tilted axes for the qform, which cannot
    hold them. MetaImage and OME-Zarr hold any axes.
    """
    affine = affine_ras_of(volume.affine_lps)
    steps, spacing_mm = affine[:3, :3], np.linalg.norm(affine[:3, :3], axis=0)
    left, _, right = np.linalg.svd(steps / spacing_mm)
    off = (left @ right) * spacing_mm - steps
    last = np.asarray(volume.shape[::-1]) - 1
    corners = np.stack(np.meshgrid(*[(0, length) for length in last]), axis=-1).reshape(-1, 3)
    return float(np.linalg.norm(corners @ off.T, axis=1).max())


def twin_of(path: Path) -> Path | None:
    """Return `a.nii` for `a.nii.gz` and the other way round; None for a file of another kind.

    nifti_clib, and so ITK, reads the voxels of the first under the header of the second.
    """
    name = path.name.lower()
    if name.endswith(".nii.gz"):
        return path.with_suffix("")
    return path.with_name(path.name + ".gz") if name.endswith(".nii") else None


def affine_ras_of(affine_lps: Affine) -> Affine:
    """Return the 4x4 that maps `(x, y, z, 1)` of the index to RAS mm."""
    affine: Affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_lps[:, [2, 1, 0, 3]]
    return affine


def _header(volume: Volume, dtype: np.dtype[Any]) -> Any:
    nifti1: Any = nib.nifti1
    header = nifti1.Nifti1Header(endianness="<")
    header.set_data_dtype(dtype)
    header.set_data_shape(volume.shape[::-1])
    header.set_xyzt_units("mm")
    header.set_slope_inter(1.0, 0.0)
    affine = affine_ras_of(volume.affine_lps)
    header.set_qform(affine, code=SCANNER_CODE)
    # After qform, whose spacing pixdim keeps: it must be that of the axes, not of their nearest
    # right angles.
    header.set_sform(affine, code=SCANNER_CODE)
    header.extensions.append(nifti1.Nifti1Extension(COMMENT_CODE, _exact(affine)))
    return header


def _exact(affine_ras: Affine) -> bytes:
    """Return the text of the extension, padded with blanks to whole blocks of 16 bytes."""
    text = json.dumps({"medvit": {"affine_ras": affine_ras.tolist()}}).encode("ascii")
    return text + b" " * (-(len(text) + 8) % 16)


def _packed(file: BinaryIO, path: Path) -> AbstractContextManager[BinaryIO]:
    """Return a stream over a file; gzip without name and time, which would tell of the maker."""
    if not path.name.lower().endswith(".gz"):
        return nullcontext(file)
    stream = gzip.GzipFile(filename="", mode="wb", compresslevel=GZIP_LEVEL, fileobj=file, mtime=0)
    return cast("AbstractContextManager[BinaryIO]", stream)
