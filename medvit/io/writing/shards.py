"""Files of zarr's sharding codec, written straight from memory, one slab of an array at a time."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from struct import pack

import google_crc32c
import numcodecs  # type: ignore[import-untyped]
import numpy as np

from medvit.volume.levels import Shape, Slab

NOT_THERE = np.uint64(2**64 - 1)
"""Offset and length of a chunk that a shard does not hold: one beyond the edge of the array."""

MOST_THREADS = 4


@dataclass(frozen=True, slots=True)
class Shards:
    """The files of a zarr array `(z, y, x)` whose codecs are Blosc and CRC-32C in shards.

    Zarr itself takes two to three times as long for the same bytes: it copies each chunk
    several times and goes through an event loop.

    Attributes:
        folder: Of the array, where its `zarr.json` is.
        chunk: Voxels of a chunk; `shard` those of a file, which is as deep as a chunk.
    """

    folder: Path
    chunk: Shape
    shard: Shape
    blosc: numcodecs.Blosc

    def __setitem__(self, slices: slice, slab: Slab) -> None:
        """Write the files of some slices, which start where a file starts.

        Raises:
            ValueError: If they do not, or are more than a file is deep.
            OSError: If a file cannot be written.
        """
        depth = self.shard[0]
        if slices.start % depth or len(slab) > depth:
            msg = f"{len(slab)} slices from {slices.start} on; files are {depth} deep"
            raise ValueError(msg)
        rows, columns = (
            range(-(-length // side))
            for length, side in zip(slab.shape[1:], self.shard[1:], strict=True)
        )

        def write(place: tuple[int, int]) -> None:
            self._write(slab, (slices.start // depth, *place))

        places = list(product(rows, columns))
        with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1, len(places))) as threads:
            list(threads.map(write, places))

    def _write(self, slab: Slab, place: Shape) -> None:
        """Write one file: its chunks in C order, then where they are, then a check sum of that."""
        path = self.folder.joinpath("c", *map(str, place))
        path.parent.mkdir(parents=True, exist_ok=True)
        _, height, width = self.chunk
        corners = [
            (place[1] * self.shard[1] + row, place[2] * self.shard[2] + column)
            for row in range(0, self.shard[1], height)
            for column in range(0, self.shard[2], width)
        ]
        index = np.full((len(corners), 2), NOT_THERE, "<u8")
        with path.open("wb") as file:
            for number, (y, x) in enumerate(corners):
                part = slab[:, y : y + height, x : x + width]
                if part.size:
                    packed = self._packed(part)
                    index[number] = file.tell(), len(packed) + 4
                    file.write(packed)
                    file.write(_check_sum(packed))
            file.write(index.tobytes())
            file.write(_check_sum(index.tobytes()))

    def _packed(self, part: Slab) -> bytes:
        """Pack a chunk; beyond the edge of the array it holds zeros."""
        chunk = part
        if part.shape != self.chunk:
            chunk = np.zeros(self.chunk, part.dtype)
            chunk[tuple(map(slice, part.shape))] = part
        packed: bytes = self.blosc.encode(np.ascontiguousarray(chunk))
        return packed


def _check_sum(raw: bytes) -> bytes:
    return pack("<I", google_crc32c.value(raw))
