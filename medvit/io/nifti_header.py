"""The header of a NIfTI file, turned from RAS and x-first to LPS and `(z, y, x)`."""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel import orientations
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from medvit.errors import ReadError
from medvit.geometry import Affine
from medvit.io.dicom_geometry import MIN_SLICES, TILT_TOLERANCE_DEG
from medvit.io.os_errors import is_system_error, unreadable
from medvit.io.quiet import silence_libraries

silence_libraries()

MM_PER_UNIT = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
"""Length units of a NIfTI header; an unset one means mm by common use."""

HEADER_BYTES = 348
"""Length of a NIfTI-1 header."""

SNIFFED_BYTES = 1024
"""What nibabel reads of a file to tell its format."""

PARSE_ERRORS = (ImageFileError, HeaderDataError, ValueError, TypeError, LookupError, struct.error)
"""What nibabel raises on a broken header."""

GZIP_ERRORS = (EOFError, gzip.BadGzipFile, zlib.error)
"""What a compressed file raises that is cut short or altered."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A NIfTI header turned to `(z, y, x)` and LPS.

    Attributes:
        shape: Voxels along `(z, y, x)` after turning.
        affine_lps: Index `(z, y, x, 1)` to LPS mm after turning.
        stored_shape: Voxels along the axes of the file, fastest first.
        axes: For z, y, x: which axis of the file it is.
        is_flipped: For z, y, x: whether it runs against the axis of the file.
        offset: Byte of the (uncompressed) file where voxels start.
    """

    path: Path
    shape: tuple[int, int, int]
    affine_lps: Affine
    stored_shape: tuple[int, int, int]
    axes: tuple[int, int, int]
    is_flipped: tuple[bool, bool, bool]
    dtype: np.dtype[np.generic]
    offset: int
    slope: float
    intercept: float

    @property
    def plane_bytes(self) -> int:
        """Bytes of one plane of the file, across its slowest axis."""
        return self.stored_shape[0] * self.stored_shape[1] * self.dtype.itemsize

    @property
    def end(self) -> int:
        """Byte of the (uncompressed) file where voxels end."""
        return self.offset + self.plane_bytes * self.stored_shape[2]


def read_grid(path: Path) -> Grid:
    """Return the grid of a NIfTI file: three axes, a straight box, a known place.

    sform comes before qform, as the standard says.

    Raises:
        ReadError: With the reason, when the header says otherwise.
    """
    image = _load(path)
    try:
        return _turned(path, image)
    except PARSE_ERRORS as error:
        raise _no_nifti(path, error) from error


def is_gzip(path: Path) -> bool:
    """Return whether the name of a file says that it is compressed."""
    return path.name.lower().endswith(".gz")


def cut_short(path: Path) -> ReadError:
    """Return the error for voxels that are not all there."""
    msg = f"{path.name}: the file ends before its voxels do, or its compression is broken"
    return ReadError(msg, reason="truncated", hint="copy the file again")


def _load(path: Path) -> Any:
    try:
        return nib.load(path)
    except OSError as error:
        if not is_system_error(error):
            raise cut_short(path) from error
        raise unreadable(path, error) from error
    except GZIP_ERRORS as error:
        raise cut_short(path) from error
    except PARSE_ERRORS as error:
        if _ends_in_header(path):
            raise cut_short(path) from error
        raise _no_nifti(path, error) from error


def _no_nifti(path: Path, error: Exception) -> ReadError:
    msg = f"{path.name}: not a readable NIfTI header ({type(error).__name__})"
    return ReadError(msg, reason="not_an_image", hint="write the volume again")


def _ends_in_header(path: Path) -> bool:
    """Return whether a file ends, or its compression breaks off, in the part nibabel looks at."""
    try:
        with gzip.open(path) if is_gzip(path) else path.open("rb") as file:
            return len(file.read(SNIFFED_BYTES)) < HEADER_BYTES
    except GZIP_ERRORS as error:
        return not isinstance(error, gzip.BadGzipFile)


def _turned(path: Path, image: Any) -> Grid:
    shape = _three_axes(path, image.shape)
    affine_ras = _straight_affine(path, image)
    order, flips = _way_to_lps(affine_ras)
    voxels = image.dataobj
    return Grid(
        path=path,
        shape=(shape[order[0]], shape[order[1]], shape[order[2]]),
        affine_lps=_lps_affine(affine_ras, shape, order, flips),
        stored_shape=shape,
        axes=(order[0], order[1], order[2]),
        is_flipped=(flips[0], flips[1], flips[2]),
        dtype=voxels.dtype,
        offset=int(voxels.offset),
        slope=float(voxels.slope),
        intercept=float(voxels.inter),
    )


def _way_to_lps(affine_ras: npt.NDArray[np.float64]) -> tuple[list[int], list[bool]]:
    """Return, for z, y, x, the axis of the file nearest to it and whether it runs against it."""
    turn: Any = orientations
    target = turn.axcodes2ornt(("L", "P", "S"))
    to_lps = turn.ornt_transform(turn.io_orientation(affine_ras), target)
    order = [int(np.flatnonzero(to_lps[:, 0] == axis)[0]) for axis in (2, 1, 0)]
    return order, [bool(to_lps[axis, 1] < 0) for axis in order]


def _three_axes(path: Path, shape: tuple[int, ...]) -> tuple[int, int, int]:
    axes = [int(length) for length in shape]
    while len(axes) > 3 and axes[-1] == 1:
        axes.pop()
    if len(axes) != 3 or min(axes) < 1:
        msg = f"{path.name}: shape {tuple(shape)} is not a volume with three axes"
        raise ReadError(msg, reason="wrong_dimensions", hint="split it into single volumes")
    if min(axes) < MIN_SLICES:
        msg = f"{path.name}: shape {tuple(shape)} has fewer than {MIN_SLICES} slices"
        raise ReadError(msg, reason="too_few_slices", hint="export the whole volume")
    return axes[0], axes[1], axes[2]


def _straight_affine(path: Path, image: Any) -> npt.NDArray[np.float64]:
    """Return the RAS affine in mm, refusing one that is absent, broken or sheared."""
    header = image.header
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        msg = f"{path.name}: neither sform nor qform is set, so left and right are unknown"
        raise ReadError(msg, reason="no_position", hint="write it again with its orientation")
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3] *= MM_PER_UNIT[header.get_xyzt_units()[0]]
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or lengths.min() <= 0:
        msg = f"{path.name}: voxel axes {affine[:3].tolist()} are no box in space"
        raise ReadError(msg, reason="bad_value", hint="write it again with its orientation")
    cosines = affine[:3, :3] / lengths
    worst = float(np.abs(cosines.T @ cosines - np.eye(3)).max())
    if worst > np.sin(np.radians(TILT_TOLERANCE_DEG)):
        angle_deg = float(np.degrees(np.arcsin(min(worst, 1.0))))
        msg = f"{path.name}: axes are {angle_deg:.1f} degrees off right angles"
        raise ReadError(msg, reason="gantry_tilt", hint="resample the volume without tilt")
    return affine


def _lps_affine(
    affine_ras: npt.NDArray[np.float64],
    shape: tuple[int, int, int],
    order: list[int],
    flips: list[bool],
) -> Affine:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_ras
    turned = np.eye(4)
    turned[:3, 3] = affine[:3, 3]
    for column, (axis, flip) in enumerate(zip(order, flips, strict=True)):
        step = affine[:3, axis]
        turned[:3, column] = -step if flip else step
        if flip:
            turned[:3, 3] += step * (shape[axis] - 1)
    return turned
