"""Boxes of HU out of DICOM slices, each rescaled by its own slope and intercept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from medvit.io.chunk_cache import ChunkCache, chunk_key
from medvit.io.dicom.header import SliceHeader
from medvit.io.dicom.inflate import DEFLATED
from medvit.io.dicom.pixels import is_native, read_rows, read_stored
from medvit.io.os_errors import unreadable
from medvit.io.planes import CACHE_BYTES, Plane, PlaneCache, rescale_into
from medvit.volume.volume import BlockReader, Hu

CHUNK_SCHEME = "dicom-stored-planes-1"
"""What a chunk of the cache is: the stored values of one frame of a compressed file."""


def block_reader(
    headers: Sequence[SliceHeader],
    *,
    cache: ChunkCache | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> BlockReader:
    """Return what reads boxes out of slices of one size, in their order.

    Of an uncompressed slice only the rows that are needed are read, every time anew: the
    system keeps what it reads. A compressed slice is decoded as a whole; stored values are
    kept in memory, at most `cache_bytes` of them, and on disk where there is a cache.
    """
    planes = PlaneCache(_plane_decoder(headers, cache), max_bytes=cache_bytes)

    def read_block(z: slice, y: slice, x: slice) -> Hu:
        hu = np.empty((z.stop - z.start, y.stop - y.start, x.stop - x.start), np.float32)
        if hu.size == 0:
            return hu
        for row, number in enumerate(range(z.start, z.stop)):
            header = headers[number]
            rows = read_rows(header, y) if is_plain(header) else planes.plane(number)[y]
            slope, intercept = _rescale_of(header)
            rescale_into(hu[row], rows[:, x], slope=slope, intercept=intercept)
        return hu

    return read_block


def read_slice_hu(header: SliceHeader) -> npt.NDArray[np.float64]:
    """Return the HU `(y, x)` of a whole slice in double precision, for exact comparison.

    Raises:
        ReadError: If the pixels cannot be read.
    """
    slope, intercept = _rescale_of(header)
    hu: npt.NDArray[np.float64] = read_stored(header).astype(np.float64) * slope + intercept
    return hu


def is_plain(header: SliceHeader) -> bool:
    """Return whether rows can be read from the file without what lies before them."""
    return is_native(header) and header.transfer_syntax != DEFLATED


def _rescale_of(header: SliceHeader) -> tuple[float, float]:
    return 1.0 if header.slope is None else header.slope, header.intercept or 0.0


def _plane_decoder(
    headers: Sequence[SliceHeader], cache: ChunkCache | None
) -> Callable[[int], Plane]:
    def decode(number: int) -> Plane:
        header = headers[number]
        if cache is None:
            return read_stored(header)
        try:
            key = chunk_key(header.path, scheme=CHUNK_SCHEME)
        except OSError as error:
            raise unreadable(header.path, error) from error
        kept = cache.get(key, header.frame)
        return cache.put(key, header.frame, read_stored(header)) if kept is None else kept

    return decode
