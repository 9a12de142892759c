"""The file that holds the voxels of a volume: where they start, and whether all can be there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from medvit.errors import ReadError
from medvit.io.os_errors import unreadable
from medvit.io.volumes.grid import StoredHeader
from medvit.io.volumes.unpacked import MOST_RATIO, Packing, cut_short

MOST_PLANE_BYTES = 256 * 1024 * 1024
"""Largest plane that is read: what a file declares must not decide how much memory is taken."""

Stamp = tuple[int, int]
"""Size in bytes and time of the last change of a file."""


@dataclass(frozen=True, slots=True)
class VoxelFile:
    """Where in which file voxels lie.

    Attributes:
        start: Byte of the file where they start, or where its packed part starts.
        offset: Byte of what is unpacked where voxels start; 0 without packing.
        stamp: Of the file when its header was read.
    """

    path: Path
    packing: Packing
    start: int
    offset: int
    stamp: Stamp

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open the file at `start`, as long as it is the one whose header was read.

        Raises:
            ReadError: If it is gone, or has changed since.
        """
        try:
            with self.path.open("rb", buffering=0) as file:
                self._check_stamp(stamp_of(file))
                file.seek(self.start)
                yield file
                self._check_stamp(stamp_of(file))
        except OSError as error:
            raise unreadable(self.path, error) from error

    def check_holds(self, header: StoredHeader) -> None:
        """Refuse a file that declares more voxels than it can hold, before room is made for them.

        Raises:
            ReadError: `truncated`, or `too_large` when one plane takes too much memory.
        """
        held = max(self.stamp[0] - self.start, 0)
        needed = self.offset + header.voxel_bytes
        if needed > held * (MOST_RATIO if self.packing else 1):
            msg = f"{self.path.name}: {needed} bytes of voxels declared, {held} are there"
            raise ReadError(msg, reason="truncated", hint="copy the file again")
        check_plane(header)

    def _check_stamp(self, stamp: Stamp) -> None:
        if stamp[0] < self.stamp[0]:
            raise cut_short(self.path)
        if stamp != self.stamp:
            msg = f"{self.path.name}: the file was changed while it was read"
            raise ReadError(msg, reason="unreadable", hint="start again when it is complete")


def check_plane(header: StoredHeader) -> None:
    """Refuse planes that take too much memory one by one.

    Raises:
        ReadError: `too_large`.
    """
    if header.plane_bytes > MOST_PLANE_BYTES:
        msg = (
            f"{header.path.name}: a plane of {header.plane_bytes} bytes, "
            f"{MOST_PLANE_BYTES} are the most"
        )
        raise ReadError(msg, reason="too_large", hint="cut the volume to the chest")


def stamp_of(file: BinaryIO) -> Stamp:
    """Return the stamp of an open file."""
    state = os.fstat(file.fileno())
    return state.st_size, state.st_mtime_ns
