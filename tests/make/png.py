"""PNG files written chunk by chunk, of forms that libraries do not write."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""Colour type of a PNG by its number of channels."""


def chunk(name: bytes, body: bytes) -> bytes:
    """Return one chunk with its length and checksum."""
    return struct.pack(">L", len(body)) + name + body + struct.pack(">L", zlib.crc32(name + body))


def write_png(path: Path, pixels: npt.NDArray[np.unsignedinteger], *extra: bytes) -> Path:
    """Write `(y, x)` or `(y, x, c)` pixels of 8 or 16 bits, `extra` chunks before them."""
    rows = np.atleast_3d(pixels)
    height, width, channels = rows.shape
    bits = 8 * rows.dtype.itemsize
    head = struct.pack(">LLBBBBB", width, height, bits, COLOUR_TYPES[channels], 0, 0, 0)
    raw = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in rows)
    parts = [chunk(b"IHDR", head), *extra, chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path
