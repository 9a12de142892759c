"""OME-Zarr volumes (0.4 and 0.5): a folder of chunks, of which a box reads what it touches."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from medvit.errors import ReadError
from medvit.geometry import Affine
from medvit.io.os_errors import is_system_error, unreadable
from medvit.io.planes import Plane
from medvit.io.volumes.grid import (
    WRITE_AGAIN_HINT,
    StoredGrid,
    StoredHeader,
    check_bounded,
    grid_of,
    three_lengths,
)
from medvit.io.volumes.ome_zarr_metadata import (
    MOST_CHUNK_BYTES,
    SPACE_AXES,
    ArrayForm,
    Multiscale,
    read_form,
    read_multiscale,
)
from medvit.io.volumes.stored_volume import volume_over
from medvit.io.volumes.voxel_file import check_plane
from medvit.volume.volume import Volume

FOLDER_ENDING = ".zarr"
"""`.ome.zarr` ends so too."""

SCALE_TOLERANCE = 1e-3
"""Largest relative difference of the scale of the level and the steps of medvit's affine."""

DECODE_ERRORS = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError),
    *(RuntimeError, TypeError, ValueError, zlib.error),
)
"""What zarr and its codecs raise on broken chunks and metadata."""


OWN_TYPES = (np.dtype("<i2"), np.dtype("<f4"))
"""What medvit writes voxels as."""


def is_zarr_folder(path: Path) -> bool:
    """Return whether a folder is named and looks like an OME-Zarr volume."""
    if not path.name.lower().endswith(FOLDER_ENDING):
        return False
    return any((path / name).is_file() for name in ("zarr.json", ".zattrs", ".zgroup"))


def read_ome_zarr(folder: Path) -> tuple[StoredGrid, ZarrVoxels]:
    """Return the grid and the voxels of the finest level of an OME-Zarr folder.

    OME-Zarr before 0.6 has no word for the patient: its place is read from the attribute
    `medvit` that `medvit convert` writes.

    Raises:
        ReadError: With the reason, when it is no volume with a known place.
    """
    image = read_multiscale(folder)
    form = read_form(image.level, image.zarr_version)
    axes = _space_axes(folder, image, form)
    lengths = three_lengths(folder, [form.shape[axis] for axis in reversed(axes)])
    header = StoredHeader(folder, lengths, form.dtype, _affine_lps(folder, image, axes))
    check_plane(header)
    return grid_of(header), ZarrVoxels(header, image, form, axes)


def _space_axes(folder: Path, image: Multiscale, form: ArrayForm) -> tuple[int, int, int]:
    """Return which axes of the array are z, y and x, in its order; the others have one entry."""
    axes = [axis for axis, name in enumerate(image.names) if name in SPACE_AXES]
    aside = [length for axis, length in enumerate(form.shape) if axis not in axes]
    if len(image.names) != len(form.shape) or len(axes) != 3 or any(n != 1 for n in aside):
        msg = f"{folder.name}: axes {'/'.join(image.names)[:60]} of {form.shape} are no one volume"
        raise ReadError(msg, reason="wrong_dimensions", hint="split it into single volumes")
    return axes[0], axes[1], axes[2]


def _affine_lps(folder: Path, image: Multiscale, axes: Sequence[int]) -> Any:
    """Return index along the axes, fastest first, to LPS mm."""
    if image.affine_lps is None:
        msg = f"{folder.name}: OME-Zarr does not say where left and right are"
        hint = "convert the original with medvit, which adds the attribute medvit.affine_lps_zyx"
        raise ReadError(msg, reason="no_position", hint=hint)
    check_bounded(folder, image.affine_lps)
    steps_mm = np.linalg.norm(image.affine_lps[:3, :3], axis=0)
    if not np.allclose(steps_mm, image.scale_mm, rtol=SCALE_TOLERANCE, atol=0):
        msg = f"{folder.name}: scale {image.scale_mm.tolist()}, but affine {steps_mm.tolist()} mm"
        raise ReadError(msg, reason="bad_value", hint=WRITE_AGAIN_HINT)
    columns = ["zyx".index(image.names[axis]) for axis in reversed(axes)]
    return image.affine_lps[:, [*columns, 3]]


def open_level(
    level: Path, shape: tuple[int, int, int], affine_lps: Affine
) -> tuple[Volume, np.dtype[Any]]:
    """Open one array `(z, y, x)` of medvit's own as a volume with the axes of the array.

    Returns:
        The volume, and the type of its voxels on the disk.

    Raises:
        ReadError: With the reason, when it is not what was written there.
    """
    form = read_form(level, 3)
    if form.shape != shape or form.dtype not in OWN_TYPES:
        msg = f"{level.name}: {form.dtype} voxels of shape {form.shape}, not {shape}"
        raise ReadError(msg, reason="bad_value", hint="it is made anew")
    z, y, x = shape
    header = StoredHeader(level, (x, y, z), form.dtype, affine_lps[:, [2, 1, 0, 3]])
    image = Multiscale(3, level, ("z", "y", "x"), np.ones(3), None)
    grid = StoredGrid(header, shape, affine_lps, (2, 1, 0), (False, False, False))
    voxels = ZarrVoxels(header, image, form, (0, 1, 2))
    return volume_over(grid, voxels, is_plain=True), form.dtype


class ZarrVoxels:
    """The voxels of one array; every file of it must be there.

    To zarr a missing file means voxels of the fill value. A CT with a hole of 0 HU would
    look like one with soft tissue there, so that is refused.
    """

    def __init__(
        self, header: StoredHeader, image: Multiscale, form: ArrayForm, axes: tuple[int, int, int]
    ) -> None:
        self._header = header
        self._image = image
        self._form = form
        self._axes = axes
        self._array: Any = None

    def planes(self, numbers: Sequence[int], rows: slice, columns: slice) -> Iterator[Plane]:
        """Yield parts of planes; what lies in one row of chunks is read together."""
        array = self._opened()
        for first, run in _runs(numbers, self._form.chunks[self._axes[0]]):
            box = (slice(first, first + run), rows, columns)
            self._check_files(array, box)
            try:
                block = np.asarray(array[self._index(box)])
            except DECODE_ERRORS as error:
                raise self._undecodable(error) from error
            yield from block

    def _opened(self) -> Any:
        if self._array is None:
            # Zarr takes longer to import than a file to open.
            from zarr import open_array  # noqa: PLC0415

            from medvit.io.volumes.checked_codecs import use_checked_codecs  # noqa: PLC0415

            try:
                with use_checked_codecs():
                    self._array = open_array(
                        self._image.level, mode="r", zarr_format=self._image.zarr_version
                    )
            except DECODE_ERRORS as error:
                raise self._undecodable(error) from error
        form = self._array.shape, self._array.dtype, self._array.metadata.chunk_grid.chunk_shape
        if form != (self._form.shape, self._form.dtype, self._form.chunks):
            msg = f"{self._header.path.name}: the folder was changed while it was read"
            raise ReadError(msg, reason="unreadable", hint="start again when it is complete")
        return self._array

    def _undecodable(self, error: BaseException) -> ReadError:
        if is_system_error(error):
            return unreadable(self._header.path, error)
        msg = f"{self._header.path.name}: a chunk cannot be unpacked ({type(error).__name__})"
        return ReadError(msg, reason="undecodable", hint="copy the folder again")

    def _index(self, box: tuple[slice, slice, slice]) -> tuple[slice | int, ...]:
        index: list[slice | int] = [0] * len(self._form.shape)
        for axis, part in zip(self._axes, box, strict=True):
            index[axis] = part
        return tuple(index)

    def _check_files(self, array: Any, box: tuple[slice, slice, slice]) -> None:
        """Refuse a box whose files are missing, or far larger than what they can unpack to."""
        ranges = [range(1)] * len(self._form.shape)
        for axis, part in zip(self._axes, box, strict=True):
            side = self._form.chunks[axis]
            ranges[axis] = range(part.start // side, -(-part.stop // side))
        for place in product(*ranges):
            path = self._image.level / array.metadata.encode_chunk_key(place)
            try:
                size = path.stat().st_size
            except OSError as error:
                name = self._header.path.name
                msg = f"{name}: the file of chunk {'/'.join(map(str, place))} is not there"
                raise ReadError(msg, reason="missing_data", hint="copy the whole folder") from error
            if size > 2 * MOST_CHUNK_BYTES:
                msg = f"{self._header.path.name}: a chunk file of {size} bytes"
                raise ReadError(msg, reason="too_large", hint="write it again in smaller chunks")


def _runs(numbers: Sequence[int], depth: int) -> Iterator[tuple[int, int]]:
    """Yield start and length of neighbouring numbers that lie in one row of chunks."""
    start = stop = -1
    for number in numbers:
        if start >= 0 and number == stop and number // depth == start // depth:
            stop += 1
            continue
        if start >= 0:
            yield start, stop - start
        start, stop = number, number + 1
    if start >= 0:
        yield start, stop - start
