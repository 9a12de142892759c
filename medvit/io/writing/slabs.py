"""A volume taken slab by slab, as int16 where that is exact and as float32 where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from medvit.volume.levels import Slab
from medvit.volume.volume import Hu, Volume

SLAB_BYTES = 64 * 1024 * 1024
"""Most that one slab holds as float32; a writer holds less than four times as much."""

WHOLE = np.dtype("<i2")
FRACTIONAL = np.dtype("<f4")

Progress = Callable[[int, int], None]
"""Called with the slices written so far and their total."""


class _DoesNotFitError(Exception):
    """A value is no whole number within int16."""


def write_exactly(
    volume: Volume,
    write: Callable[[np.dtype[Any], Iterator[Slab]], None],
    *,
    depth: int | None = None,
    progress: Progress | None = None,
) -> np.dtype[Any]:
    """Hand a volume to a writer, slab after slab along z, in the smallest exact type.

    Args:
        write: Writes slabs `(slices, y, x)` of the type it is told; see `in_exact_type`.
        depth: Slices of a slab; the last may have fewer. By `SLAB_BYTES` when None.

    Returns:
        The type that was written.

    Raises:
        ReadError: If the volume cannot be read.
    """
    step = depth or depth_of(volume.shape)

    def write_as(dtype: np.dtype[Any]) -> None:
        write(dtype, (as_type(hu, dtype) for hu in iter_slabs(volume, step, progress)))

    return in_exact_type(write_as)


def in_exact_type(write: Callable[[np.dtype[Any]], None]) -> np.dtype[Any]:
    """Call a writer with int16 and, when `as_type` says that this is not exact, with float32.

    The type is known only when every voxel was seen: the first value that does not fit
    ends the first call, and the second must start anew. CT in whole HU is read once.
    """
    for dtype in (WHOLE, FRACTIONAL):
        try:
            write(dtype)
        except _DoesNotFitError:
            continue
        return dtype
    msg = "float32 holds every value of a volume"
    raise AssertionError(msg)


def depth_of(shape: tuple[int, int, int]) -> int:
    """Return how many slices a slab may have.

    Examples:
        >>> depth_of((500, 512, 512)), depth_of((3, 512, 512))
        (64, 3)
    """
    plane_bytes = shape[1] * shape[2] * 4
    return min(shape[0], max(1, SLAB_BYTES // plane_bytes))


def iter_slabs(volume: Volume, depth: int, progress: Progress | None = None) -> Iterator[Hu]:
    """Yield the slices of a volume, `depth` of them at a time; the last may be fewer.

    Raises:
        ReadError: If the volume cannot be read.
    """
    total = volume.shape[0]
    everything = slice(None)
    for start in range(0, total, depth):
        stop = min(start + depth, total)
        yield volume.read(slice(start, stop), everything, everything)
        if progress is not None:
            progress(stop, total)


def as_type(hu: Hu, dtype: np.dtype[Any]) -> Slab:
    """Return values in a type; ends the writing `in_exact_type` of one that does not hold them."""
    if dtype == FRACTIONAL:
        return hu.astype(FRACTIONAL, copy=False)
    whole = np.empty(hu.shape, dtype)
    for plane, fitted in zip(hu, whole, strict=True):
        with np.errstate(invalid="ignore"):
            np.copyto(fitted, plane, casting="unsafe")
        # What is out of range wraps round, and so differs as a fraction does.
        if not np.array_equal(fitted, plane):
            raise _DoesNotFitError
    return whole
