"""A volume taken slab by slab, as int16 where that is exact and as float32 where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from medvit.volume.volume import Volume

SLAB_BYTES = 64 * 1024 * 1024
"""Most that one slab holds as float32; a writer holds less than four times as much."""

WHOLE = np.dtype("<i2")
FRACTIONAL = np.dtype("<f4")

Slab = npt.NDArray[Any]
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

    The type is known only when every voxel was seen. So the writer is called with int16
    first; the first value that does not fit ends that call, and the writer is called
    once more with float32 and must start anew. CT in whole HU is read once.

    Args:
        write: Writes slabs `(slices, y, x)` of the type it is told.
        depth: Slices of a slab; the last may have fewer. By `SLAB_BYTES` when None.

    Returns:
        The type that was written.

    Raises:
        ReadError: If the volume cannot be read.
    """
    for dtype in (WHOLE, FRACTIONAL):
        try:
            write(dtype, _iter_slabs(volume, dtype, depth or depth_of(volume.shape), progress))
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


def _iter_slabs(
    volume: Volume, dtype: np.dtype[Any], depth: int, progress: Progress | None
) -> Iterator[Slab]:
    total = volume.shape[0]
    everything = slice(None)
    for start in range(0, total, depth):
        stop = min(start + depth, total)
        yield _as_type(volume.read(slice(start, stop), everything, everything), dtype)
        if progress is not None:
            progress(stop, total)


def _as_type(hu: npt.NDArray[np.float32], dtype: np.dtype[Any]) -> Slab:
    if dtype == FRACTIONAL:
        return hu.astype(FRACTIONAL, copy=False)
    with np.errstate(invalid="ignore"):
        whole = hu.astype(dtype)
    # What is out of range wraps round, and so differs as a fraction does.
    if not np.array_equal(whole, hu):
        raise _DoesNotFitError
    return whole
