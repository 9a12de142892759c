"""RLE Lossless, the run-length coding of DICOM (PS3.5, annex G)."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

_HEADER_BYTES = 64


def decode_rle(stream: bytes, *, pixels: int, cell_bytes: int) -> npt.NDArray[np.unsignedinteger]:
    """Return the cells of one grey frame.

    Args:
        stream: The fragment: a header, then one segment for each byte of a cell, the
            most significant first.
        pixels: Cells of the frame.
        cell_bytes: 1, 2 or 4.

    Raises:
        ValueError: If the segments are not those of such a frame.
    """
    if len(stream) < _HEADER_BYTES:
        msg = f"an RLE frame has {len(stream)} bytes, {_HEADER_BYTES} of header expected"
        raise ValueError(msg)
    count, *starts = struct.unpack_from("<16L", stream)
    if count != cell_bytes:
        msg = f"{count} RLE segments for cells of {cell_bytes} bytes"
        raise ValueError(msg)
    bounds = [*starts[:count], len(stream)]
    planes = np.empty((pixels, count), np.uint8)
    for number in range(count):
        segment = stream[bounds[number] : bounds[number + 1]]
        planes[:, number] = np.frombuffer(_unpack(segment, pixels), np.uint8)
    return planes.view(f">u{count}").reshape(pixels).astype(f"=u{count}")


def _unpack(segment: bytes, count: int) -> bytes:
    """Expand one segment; a pad byte and surplus runs behind the last pixel are ignored."""
    parts: list[bytes] = []
    found, place, end = 0, 0, len(segment)
    while found < count and place < end:
        code = segment[place]
        if code < 128:
            part = segment[place + 1 : place + 2 + code]
            place += 2 + code
        elif code > 128:
            part = segment[place + 1 : place + 2] * (257 - code)
            place += 2
        else:
            place += 1
            continue
        parts.append(part)
        found += len(part)
    if found < count:
        msg = f"an RLE segment ends after {found} of {count} pixels"
        raise ValueError(msg)
    return b"".join(parts)[:count]
