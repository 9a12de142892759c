"""What the codestream of a compressed DICOM frame says of itself, read without decoding."""

from __future__ import annotations

import struct
from dataclasses import dataclass

J2K_SYNTAXES = frozenset(
    {
        "1.2.840.10008.1.2.4.90",
        "1.2.840.10008.1.2.4.91",
        "1.2.840.10008.1.2.4.201",
        "1.2.840.10008.1.2.4.202",
        "1.2.840.10008.1.2.4.203",
    }
)
"""JPEG 2000 and High-Throughput JPEG 2000: one form of codestream."""

J2K_HEAD_BYTES = 43
"""Start of a JPEG 2000 codestream up to the depth and sign of its first component."""

END = b"\xff\xd9"
"""Last marker of every such codestream."""

TRAILING_BYTES = 64
"""How far behind the last marker padding may reach; the standard allows one byte."""

_J2K_START = b"\xff\x4f\xff\x51"
_JP2_MARK = b"\x00\x00\x00\x0cjP  "
_JP2_HEAD_BYTES = 4096
_JPEG_START = b"\xff\xd8"
_JPEG_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7})
_LONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True, slots=True)
class Codestream:
    """The size a codestream declares.

    Attributes:
        components: Samples a pixel.
        bits: Precision of a sample.
        is_signed: Sign of JPEG 2000 samples; JPEG and JPEG-LS know none, so None.
    """

    rows: int
    columns: int
    components: int
    bits: int
    is_signed: bool | None


def read_codestream(stream: bytes) -> Codestream | None:
    """Return what a JPEG, JPEG-LS or JPEG 2000 codestream declares; None when it is none.

    Examples:
        >>> frame = bytes.fromhex("ffd8 fff7 000b 0c 0040 0020 01 011100")
        >>> read_codestream(frame)
        Codestream(rows=64, columns=32, components=1, bits=12, is_signed=None)
    """
    if stream.startswith(_JPEG_START):
        return _read_jpeg(stream)
    # The bare codestream is what the standard asks for; some writers wrap it as a JP2 file.
    start = stream.find(_J2K_START, 0, _JP2_HEAD_BYTES) if stream.startswith(_JP2_MARK) else 0
    return _read_j2k(stream[start : start + J2K_HEAD_BYTES]) if start >= 0 else None


def is_ended(stream: bytes) -> bool:
    """Return whether a codestream ends with its last marker.

    Decoders make up what is missing of one that was cut, without a word.
    """
    return END in stream[-TRAILING_BYTES:]


def _read_jpeg(stream: bytes) -> Codestream | None:
    """Follow marker segments to the frame header (ISO 10918-1, B.2.2; ISO 14495-1, C.2.2)."""
    place = 2
    while place + 4 <= len(stream) and stream[place] == 0xFF:
        marker = stream[place + 1]
        if marker == 0xFF:
            place += 1
        elif marker in _LONE_MARKERS:
            place += 2
        elif marker in _JPEG_FRAMES:
            return _read_frame_header(stream[place + 4 : place + 10])
        else:
            place += 2 + max(2, struct.unpack_from(">H", stream, place + 2)[0])
    return None


def _read_frame_header(raw: bytes) -> Codestream | None:
    if len(raw) < 6:
        return None
    bits, rows, columns, components = struct.unpack(">BHHB", raw)
    return Codestream(rows, columns, components, bits, is_signed=None)


def _read_j2k(head: bytes) -> Codestream | None:
    """Read the SIZ marker segment (ISO 15444-1, A.5.1)."""
    if len(head) < J2K_HEAD_BYTES or not head.startswith(_J2K_START):
        return None
    right, bottom, left, top = struct.unpack_from(">4L", head, 8)
    components, depth = struct.unpack_from(">HB", head, 40)
    return Codestream(
        rows=max(0, bottom - top),
        columns=max(0, right - left),
        components=components,
        bits=(depth & 0x7F) + 1,
        is_signed=bool(depth & 0x80),
    )
