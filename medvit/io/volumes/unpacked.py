"""Compressed streams, unpacked piece by piece so that no file decides how much memory is taken."""

from __future__ import annotations

import bz2
import zlib
from pathlib import Path
from typing import BinaryIO, Literal

from medvit.errors import ReadError

Packing = Literal["", "deflate", "bzip2"]
"""How the voxels of a file are compressed; `deflate` is gzip (of one or more members) or zlib."""

MOST_RATIO = 1032
"""The most that deflate can shrink anything, and more than any method does to a CT."""

BLOCK_BYTES = 256 * 1024
GZIP_MARK, BZIP2_MARK = b"\x1f\x8b", b"BZh"
_EITHER_HEADER = 32 + zlib.MAX_WBITS


def cut_short(path: Path) -> ReadError:
    """Return the error for voxels that are not all there."""
    msg = f"{path.name}: the file ends before its voxels do, or its compression is broken"
    return ReadError(msg, reason="truncated", hint="copy the file again")


class Unpacked:
    """What a file holds from where it stands, unpacked; reads forward only.

    Check sums at the end of the stream are checked when the end is reached.
    """

    def __init__(self, file: BinaryIO, path: Path, packing: Packing) -> None:
        self._file = file
        self._path = path
        self._packing = packing
        self._unpacker = _new_unpacker(packing)
        self._ready = memoryview(b"")
        self._packed = b""
        self.position = 0

    def read(self, count: int) -> bytes:
        """Return the next bytes: `count` of them, or fewer at the end.

        Raises:
            ReadError: `truncated`, if the compression is broken or breaks off.
            OSError: If the system will not give the file.
        """
        pieces: list[memoryview] = []
        missing = count
        while missing > 0:
            if not self._ready:
                self._ready = memoryview(self._next_block())
            if not self._ready:
                break
            pieces.append(self._ready[:missing])
            self._ready = self._ready[missing:]
            missing -= len(pieces[-1])
        self.position += count - missing
        return b"".join(pieces)

    def read_all(self, count: int) -> bytes:
        """Return exactly the next `count` bytes.

        Raises:
            ReadError: `truncated`, if there are fewer.
        """
        content = self.read(count)
        if len(content) < count:
            raise cut_short(self._path)
        return content

    def skip_to(self, position: int) -> None:
        """Read on to a place counted from the start."""
        while self.position < position:
            self.read_all(min(BLOCK_BYTES, position - self.position))

    def _next_block(self) -> bytes:
        if not self._packing:
            return self._file.read(BLOCK_BYTES)
        while not self._unpacker.eof or self._begin_member():
            packed = self._packed or self._file.read(BLOCK_BYTES)
            block = self._unpack(packed)
            if block:
                return block
            if not packed and not self._unpacker.eof:
                raise cut_short(self._path)
        return b""

    def _unpack(self, packed: bytes) -> bytes:
        unpacker = self._unpacker
        try:
            if isinstance(unpacker, bz2.BZ2Decompressor):
                given = packed if unpacker.needs_input else b""
                self._packed = b"" if given else packed
                return unpacker.decompress(given, BLOCK_BYTES)
            block = unpacker.decompress(packed, BLOCK_BYTES)
        except (zlib.error, ValueError, EOFError, OSError) as error:
            raise cut_short(self._path) from error
        self._packed = unpacker.unconsumed_tail
        return bytes(block)

    def _begin_member(self) -> bool:
        """Go on with a further stream in the same file; return False when there is none."""
        rest = self._unpacker.unused_data + self._packed
        rest = rest.lstrip(b"\0") or self._file.read(BLOCK_BYTES).lstrip(b"\0")
        mark = GZIP_MARK if self._packing == "deflate" else BZIP2_MARK
        if not rest.startswith(mark):
            return False
        self._packed, self._unpacker = rest, _new_unpacker(self._packing)
        return True


def _new_unpacker(packing: Packing) -> bz2.BZ2Decompressor | zlib._Decompress:
    return bz2.BZ2Decompressor() if packing == "bzip2" else zlib.decompressobj(_EITHER_HEADER)
