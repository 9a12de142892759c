"""NIfTI volumes: RAS and x-first on disk, LPS and `(z, y, x)` from here on."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import BinaryIO, cast

import numpy as np

from medvit.errors import ReadError
from medvit.io.dicom_rules import AIR_MUST_FIT_HU
from medvit.io.nifti_header import GZIP_ERRORS, Grid, cut_short, is_gzip, read_grid
from medvit.io.os_errors import unreadable
from medvit.io.planes import CACHE_BYTES, Plane, PlaneCache, rescale_into
from medvit.volume.volume import Hu, Volume

SAMPLED_PLANES = 5
"""Planes looked at, evenly spread and the last one, to tell HU from labels and grey values."""

HU_MUST_REACH = 0.0
"""A CT volume holds values below this (air, lung, fat); label maps and grey images do not."""

GZIP_RATIO = 1032
"""The most that the gzip method can shrink anything."""

NOT_HU_HINT = "give the CT in HU; this looks like a label map or a grey image"


def judge_nifti(path: Path) -> Grid:
    """Return the grid of a NIfTI file that holds a straight volume of HU.

    A few planes are read, the last among them, to tell HU from labels and to see that
    the file is whole; a `.nii.gz` is decompressed once for that.

    Raises:
        ReadError: With the reason, when the file is no such volume.
    """
    grid = read_grid(path)
    _check_type(grid)
    _check_size(grid)
    lowest = _sampled_minimum(grid)
    if not lowest < HU_MUST_REACH:
        msg = f"{path.name}: the lowest value is {lowest:g}, CT goes below {HU_MUST_REACH:g} HU"
        raise ReadError(msg, reason="not_hu", hint=NOT_HU_HINT)
    return grid


def open_nifti(grid: Grid, *, cache_bytes: int = CACHE_BYTES) -> Volume:
    """Return a volume over a judged NIfTI file; planes are read when they are asked for.

    A `.nii.gz` is decompressed at the first read into an unnamed temporary file as
    large as the volume: gzip cannot be entered in the middle.
    """
    planes = PlaneCache(_plane_reader(grid), max_bytes=cache_bytes)

    def read_block(z: slice, y: slice, x: slice) -> Hu:
        inner, middle, outer = _stored_box(grid, (z, y, x))
        numbers = range(outer.start, outer.stop)
        shape = (len(numbers), middle.stop - middle.start, inner.stop - inner.start)
        hu = np.empty(shape, np.float32)
        for row, number in enumerate(numbers):
            plane = planes.plane(number)[middle, inner]
            rescale_into(hu[row], plane, slope=grid.slope, intercept=grid.intercept)
        return _turned(_finite(hu, grid), grid)

    return Volume(grid.shape, grid.affine_lps, read_block)


def _stored_box(grid: Grid, box: tuple[slice, slice, slice]) -> list[slice]:
    """Return a `(z, y, x)` box as slices of the axes of the file, fastest first."""
    stored = [slice(0, 0)] * 3
    for axis, part, length, is_flipped in zip(
        grid.axes, box, grid.shape, grid.is_flipped, strict=True
    ):
        stored[axis] = slice(length - part.stop, length - part.start) if is_flipped else part
    return stored


def _turned(hu: Hu, grid: Grid) -> Hu:
    """Turn a block from the order of the file, slowest axis first, to `(z, y, x)`."""
    turned = hu.transpose([2 - axis for axis in grid.axes])
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in grid.is_flipped)
    return np.ascontiguousarray(turned[steps])


def _finite(hu: Hu, grid: Grid) -> Hu:
    if grid.dtype.kind == "f" and not np.isfinite(hu).all():
        msg = f"{grid.path.name}: {int((~np.isfinite(hu)).sum())} voxels are not finite numbers"
        raise ReadError(msg, reason="bad_value", hint="replace them, with -1024 for air")
    return hu


def _check_type(grid: Grid) -> None:
    name = grid.path.name
    if grid.dtype.kind not in "iuf" or not np.isfinite([grid.slope, grid.intercept]).all():
        msg = f"{name}: voxels of type {grid.dtype} are not single grey values"
        raise ReadError(msg, reason="not_hu", hint="convert to int16 HU")
    if grid.dtype.kind == "f":
        return
    bits = 8 * grid.dtype.itemsize
    limits = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if grid.dtype.kind == "i" else (0, 2**bits)
    lowest = min(limit * grid.slope for limit in limits) + grid.intercept
    if lowest > AIR_MUST_FIT_HU:
        msg = f"{name}: {grid.dtype} voxels reach down to {lowest:g}, CT needs air near -1000 HU"
        raise ReadError(msg, reason="not_hu", hint=NOT_HU_HINT)


def _check_size(grid: Grid) -> None:
    """Refuse a file that declares more voxels than it can hold, before room is made for them."""
    try:
        file_bytes = grid.path.stat().st_size
    except OSError as error:
        raise unreadable(grid.path, error) from error
    if grid.end > file_bytes * (GZIP_RATIO if is_gzip(grid.path) else 1):
        msg = f"{grid.path.name}: {grid.end} bytes of voxels declared in a file of {file_bytes}"
        raise ReadError(msg, reason="truncated", hint="copy the file again")


def _sampled_minimum(grid: Grid) -> float:
    count = grid.stored_shape[2]
    numbers = np.unique(np.linspace(count - 1, 0, SAMPLED_PLANES, endpoint=False).round())
    lowest = np.inf
    with _opened(grid.path) as file:
        for number in numbers:
            plane = _read_plane(file, grid, int(number)).astype(np.float64)
            lowest = min(lowest, float(np.min(plane * grid.slope + grid.intercept)))
    return lowest


def _opened(path: Path) -> BinaryIO:
    try:
        return cast("BinaryIO", gzip.open(path, "rb")) if is_gzip(path) else path.open("rb")
    except OSError as error:
        raise unreadable(path, error) from error


def _read_plane(file: BinaryIO, grid: Grid, number: int) -> Plane:
    try:
        file.seek(grid.offset + number * grid.plane_bytes)
        raw = file.read(grid.plane_bytes)
    except GZIP_ERRORS as error:
        raise cut_short(grid.path) from error
    except OSError as error:
        raise unreadable(grid.path, error) from error
    if len(raw) < grid.plane_bytes:
        raise cut_short(grid.path)
    return np.frombuffer(raw, grid.dtype).reshape(grid.stored_shape[1], grid.stored_shape[0])


def _plane_reader(grid: Grid) -> Callable[[int], Plane]:
    """Return a function that reads planes from one file, opened at the first call."""
    lock = Lock()
    files: list[BinaryIO] = []

    def read(number: int) -> Plane:
        with lock:
            if not files:
                files.append(_unpacked(grid.path) if is_gzip(grid.path) else _opened(grid.path))
            return _read_plane(files[0], grid, number)

    return read


def _unpacked(path: Path) -> BinaryIO:
    target = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        with gzip.open(path, "rb") as packed:
            shutil.copyfileobj(packed, target, length=1 << 20)
    except GZIP_ERRORS as error:
        raise cut_short(path) from error
    except OSError as error:
        msg = f"{path.name}: cannot be decompressed ({error.strerror or type(error).__name__})"
        hint = "check the room in the temporary folder, or decompress the file first"
        raise ReadError(msg, reason="unreadable", hint=hint) from error
    return cast("BinaryIO", target)
