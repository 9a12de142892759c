"""Voxels as they are stored, read plane by plane: in place, from a stream, or from chunks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import BinaryIO, Protocol

import numpy as np

from medvit.errors import ReadError
from medvit.io.chunk_cache import HEADER_BYTES, Chunk, ChunkCache, chunk_key
from medvit.io.os_errors import unreadable
from medvit.io.planes import Plane
from medvit.io.volumes.grid import StoredHeader
from medvit.io.volumes.unpacked import Unpacked, cut_short
from medvit.io.volumes.voxel_file import VoxelFile

PIECE_BYTES = 4 * 1024 * 1024
"""How much of a file is unpacked and kept at a time."""

SCHEME_VERSION = 1
"""Goes into the keys of unpacked chunks; raise it when what a chunk holds changes."""


class Voxels(Protocol):
    """Something that gives the planes of a volume as they are stored."""

    def planes(self, numbers: Sequence[int], rows: slice, columns: slice) -> Iterator[Plane]:
        """Yield parts of planes across the slowest axis, in the order of the numbers, which rise.

        Raises:
            ReadError: With the reason, if they cannot be had.
        """


def voxels_of(header: StoredHeader, file: VoxelFile, cache: ChunkCache | None) -> Voxels:
    """Return the voxels of a file for reading in any order.

    What is packed cannot be entered in the middle. It is unpacked once, into the cache,
    or without one (or when it is too small) into an unnamed temporary file.
    """
    if not file.packing:
        return PlainVoxels(header, file.opened, file.start)
    if cache is not None and _cached_bytes(header) <= cache.max_bytes:
        return CachedVoxels(header, file, cache)
    return TemporaryVoxels(header, file)


class PlainVoxels:
    """Voxels that lie in a file as they are.

    They are read, not mapped: a file that shrinks under a mapping kills the process
    that looks at it, here it ends in an error.
    """

    def __init__(
        self,
        header: StoredHeader,
        opened: Callable[[], AbstractContextManager[BinaryIO]],
        start: int,
    ) -> None:
        self._header = header
        self._opened = opened
        self._start = start

    def planes(self, numbers: Sequence[int], rows: slice, columns: slice) -> Iterator[Plane]:
        """Yield parts of planes; only the rows that they need are read."""
        width = self._header.lengths[0]
        row_bytes = width * self._header.dtype.itemsize
        with self._opened() as file:
            for number in numbers:
                first = self._start + number * self._header.plane_bytes + rows.start * row_bytes
                raw = self._read(file, first, (rows.stop - rows.start) * row_bytes)
                plane = np.frombuffer(raw, self._header.dtype).reshape(-1, width)
                yield plane[:, columns]

    def _read(self, file: BinaryIO, first: int, count: int) -> bytes:
        raw = os.pread(file.fileno(), count, first)
        while len(raw) < count:
            more = os.pread(file.fileno(), count - len(raw), first + len(raw))
            if not more:
                raise cut_short(self._header.path)
            raw += more
        return raw


class StreamedVoxels:
    """Packed voxels met in passing, nothing kept: for a look at a few planes."""

    def __init__(self, header: StoredHeader, file: VoxelFile) -> None:
        self._header = header
        self._file = file

    def planes(self, numbers: Sequence[int], rows: slice, columns: slice) -> Iterator[Plane]:
        """Yield parts of planes."""
        with self._file.opened() as file:
            stream = Unpacked(file, self._file.path, self._file.packing)
            for number in numbers:
                stream.skip_to(self._file.offset + number * self._header.plane_bytes)
                raw = stream.read_all(self._header.plane_bytes)
                if number == self._header.lengths[2] - 1:
                    stream.read(1)  # the check sum stands at the end
                yield _planes_in(self._header, raw)[0, rows, columns]


class TemporaryVoxels:
    """Packed voxels, unpacked at the first read into a file that has no name."""

    def __init__(self, header: StoredHeader, file: VoxelFile) -> None:
        self._header = header
        self._file = file
        self._lock = Lock()
        self._unpacked: PlainVoxels | None = None

    def planes(self, numbers: Sequence[int], rows: slice, columns: slice) -> Iterator[Plane]:
        """Yield parts of planes."""
        with self._lock:
            if self._unpacked is None:
                self._unpacked = self._unpack()
        yield from self._unpacked.planes(numbers, rows, columns)

    def _unpack(self) -> PlainVoxels:
        target = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (lives as long as the volume)
        try:
            for _, chunk in iter_chunks(self._header, self._file):
                self._write(target, chunk)
        except BaseException:
            target.close()
            raise
        return PlainVoxels(self._header, lambda: nullcontext(target), 0)

    def _write(self, target: BinaryIO, chunk: Chunk) -> None:
        left = memoryview(chunk.tobytes())
        try:
            while left:
                left = left[target.write(left) :]
        except OSError as error:
            msg = f"{self._file.path.name}: cannot be unpacked ({error.strerror})"
            hint = "make room in the temporary folder, or unpack the file first"
            raise ReadError(msg, reason="unreadable", hint=hint) from error


class CachedVoxels:
    """Packed voxels, unpacked once for all processes that share a cache."""

    def __init__(self, header: StoredHeader, file: VoxelFile, cache: ChunkCache) -> None:
        self._header = header
        self._file = file
        self._cache = cache
        self._key = _key_of(header, file)
        self._lock = Lock()
        self._fallback: TemporaryVoxels | None = None

    def planes(self, numbers: Sequence[int], rows: slice, columns: slice) -> Iterator[Plane]:
        """Yield parts of planes."""
        depth = _planes_a_chunk(self._header)
        held: tuple[int, Chunk] | None = None
        for number in numbers:
            if held is None or held[0] != number // depth:
                chunk = self._chunk(number // depth)
                if chunk is None:
                    yield from self._aside().planes([number], rows, columns)
                    continue
                held = number // depth, chunk
            yield held[1][number % depth, rows, columns]

    def _chunk(self, number: int) -> Chunk | None:
        """Return a chunk, unpacking all if it is not there; None where they cannot be kept."""
        found = self._cache.get(self._key, number)
        if found is not None or self._fallback is not None:
            return found
        with self._lock:
            if self._cache.get(self._key, number) is None:
                self._fill()
            return self._cache.get(self._key, number)

    def _fill(self) -> None:
        """Unpack all; what was kept of a stream that ends badly goes again.

        Opening looks at the last plane, so chunks of a pass that was killed are not
        trusted before another pass came to the end.
        """
        try:
            for index, chunk in iter_chunks(self._header, self._file):
                self._cache.put(self._key, index, chunk)
        except ReadError:
            self._cache.discard(self._key)
            raise

    def _aside(self) -> TemporaryVoxels:
        with self._lock:
            if self._fallback is None:
                self._fallback = TemporaryVoxels(self._header, self._file)
        return self._fallback


def _key_of(header: StoredHeader, file: VoxelFile) -> str:
    form = (SCHEME_VERSION, file.packing, file.start, file.offset, header.dtype.str, header.lengths)
    try:
        return chunk_key(file.path, scheme=f"planes {form} {_planes_a_chunk(header)}")
    except OSError as error:
        raise unreadable(file.path, error) from error


def _planes_a_chunk(header: StoredHeader) -> int:
    return max(1, PIECE_BYTES // header.plane_bytes)


def _cached_bytes(header: StoredHeader) -> int:
    chunks = -(-header.lengths[2] // _planes_a_chunk(header))
    return header.voxel_bytes + chunks * HEADER_BYTES


def iter_chunks(header: StoredHeader, file: VoxelFile) -> Iterator[tuple[int, Chunk]]:
    """Unpack all voxels in one pass, a few planes at a time.

    The last of them come only when the check sum behind them is right.

    Raises:
        ReadError: With the reason, when the stream breaks off or the file changes.
    """
    depth = _planes_a_chunk(header)
    with file.opened() as opened:
        stream = Unpacked(opened, file.path, file.packing)
        stream.skip_to(file.offset)
        for number, first in enumerate(range(0, header.lengths[2], depth)):
            count = min(depth, header.lengths[2] - first)
            raw = stream.read_all(count * header.plane_bytes)
            if first + count == header.lengths[2]:
                stream.read(1)
            yield number, _planes_in(header, raw)


def _planes_in(header: StoredHeader, raw: bytes) -> Chunk:
    columns, rows, _ = header.lengths
    return np.frombuffer(raw, header.dtype).reshape(-1, rows, columns)
