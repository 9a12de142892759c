"""Data sets that are deflated as a whole, inflated only as far as they are read."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import BinaryIO

from medvit.io.dicom.elements import WINDOW_BYTES, Elements, walk_meta

DEFLATED = "1.2.840.10008.1.2.1.99"
"""Deflated Explicit VR Little Endian (PS3.5, A.5): all behind the file meta information."""

MOST_HEADER_BYTES = 1 << 26
"""How far a header is followed into a deflated data set; a slice of 512x512 has 512 KiB."""

_STEP_BYTES = 1 << 16


class InflatedFile(io.RawIOBase):
    """A file whose part from `start` on is inflated while it is read, up to `most_bytes`.

    What lies beyond is not there: a small file can claim to hold any amount.
    """

    def __init__(self, file: BinaryIO, start: int, *, most_bytes: int) -> None:
        file.seek(0)
        self._file = file
        self._content = bytearray(file.read(start))
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._most_bytes = most_bytes
        self._place = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a byte counted from the start of the file."""
        if whence != io.SEEK_SET:
            msg = f"only seeking from the start is possible, got whence {whence}"
            raise ValueError(msg)
        self._place = offset
        return offset

    def read(self, count: int = -1) -> bytes:
        """Return at most `count` bytes.

        Raises:
            zlib.error: If the deflated part is broken.
        """
        stop = self._most_bytes if count < 0 else min(self._place + count, self._most_bytes)
        while len(self._content) < stop and self._inflate_more(stop):
            pass
        found = bytes(self._content[self._place : stop])
        self._place += len(found)
        return found

    def _inflate_more(self, stop: int) -> bool:
        """Inflate the next piece; return whether there may be more."""
        packed = self._inflater.unconsumed_tail or self._file.read(_STEP_BYTES)
        if self._inflater.eof or not packed:
            return False
        room = max(_STEP_BYTES, stop - len(self._content))
        self._content += self._inflater.decompress(packed, room)
        return True


def inflated(path: Path, *, most_bytes: int) -> bytes:
    """Return a file with its data set inflated, cut at `most_bytes`.

    Raises:
        OSError: If the file cannot be read.
        DicomSyntaxError: If the file meta information cannot be followed.
        zlib.error: If the deflated part is broken.
    """
    with path.open("rb") as file:
        start = walk_meta(Elements(file, file.read(WINDOW_BYTES))).end
        return InflatedFile(file, start, most_bytes=most_bytes).read()
