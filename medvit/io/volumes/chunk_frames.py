"""How much a packed zarr chunk unpacks to, told or bounded before memory is taken for it."""

from __future__ import annotations

import struct
import zlib

BLOSC_HEADER_BYTES = 16

ZSTD_MARK = 0xFD2FB528
ZSTD_SKIPPED_MARKS = range(0x184D2A50, 0x184D2A60)
ZSTD_BLOCK_BYTES = 128 * 1024
"""The most that one block of a frame unpacks to (RFC 8878, section 3.1.1.2.4)."""

ZSTD_ID_BYTES = (0, 1, 2, 4)
ZSTD_SIZE_BYTES = (0, 2, 4, 8)
"""Lengths of two optional fields of a frame header, by their two-bit flags."""


def blosc_bytes(raw: bytes) -> int:
    """Return what a Blosc 1 frame unpacks to, when it is as long as it says.

    The library itself reads past the end of a frame that is cut short. Bytes 4 to 16 of
    the header are three little endian numbers: unpacked, block and packed length.

    Raises:
        ValueError: With the lengths, if they differ.
    """
    if len(raw) < BLOSC_HEADER_BYTES:
        msg = f"a Blosc frame of {len(raw)} bytes"
        raise ValueError(msg)
    unpacked, _, packed = struct.unpack_from("<3I", raw, 4)
    if packed != len(raw):
        msg = f"a Blosc frame of {len(raw)} bytes says that it has {packed}"
        raise ValueError(msg)
    return int(unpacked)


def lz4_bytes(raw: bytes) -> int:
    """Return what an LZ4 block unpacks to, by the number that numcodecs puts in front.

    Raises:
        ValueError: If it is too short for that.
    """
    if len(raw) < 4:
        msg = f"an LZ4 chunk of {len(raw)} bytes"
        raise ValueError(msg)
    return int(struct.unpack_from("<I", raw)[0])


def zstd_bytes(raw: bytes) -> int:
    """Return the most that Zstandard frames can unpack to, by a walk over their blocks.

    The length in a frame header is optional, and may lie.

    Raises:
        ValueError: If a frame breaks off or does not start like one.
    """
    most = at = 0
    try:
        while at < len(raw):
            mark = struct.unpack_from("<I", raw, at)[0]
            if mark in ZSTD_SKIPPED_MARKS:
                at += 8 + struct.unpack_from("<I", raw, at + 4)[0]
                continue
            if mark != ZSTD_MARK:
                msg = f"byte {at} of {len(raw)} starts no Zstandard frame"
                raise ValueError(msg)
            at, frame_most = _zstd_frame(raw, at + 4)
            most += frame_most
    except (struct.error, IndexError):
        at = len(raw) + 1
    if at > len(raw):
        msg = f"a Zstandard frame breaks off after {len(raw)} bytes"
        raise ValueError(msg)
    return most


def _zstd_frame(raw: bytes, at: int) -> tuple[int, int]:
    """Return the byte after a frame, and the most that it unpacks to (RFC 8878, 3.1.1)."""
    flags = raw[at]
    has_window = not flags & 0x20
    size_bytes = ZSTD_SIZE_BYTES[flags >> 6] or (0 if has_window else 1)
    at += 1 + has_window + ZSTD_ID_BYTES[flags & 3] + size_bytes
    most, is_last = 0, False
    while not is_last:
        header = raw[at] | raw[at + 1] << 8 | raw[at + 2] << 16
        is_last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        most += ZSTD_BLOCK_BYTES if kind == 2 else size
        at += 3 + (1 if kind == 1 else size)
    return at + (4 if flags & 4 else 0), most


def inflate(raw: bytes, *, most_bytes: int) -> bytes:
    """Return what a gzip or zlib stream of one member holds.

    Raises:
        ValueError: If it breaks off or holds more than `most_bytes`.
        zlib.error: If it is broken.
    """
    unpacker = zlib.decompressobj(32 + zlib.MAX_WBITS)
    content = unpacker.decompress(raw, most_bytes)
    if not unpacker.eof and unpacker.decompress(unpacker.unconsumed_tail, 1):
        msg = f"a stream of {len(raw)} bytes that unpacks to more than {most_bytes}"
        raise ValueError(msg)
    if not unpacker.eof:
        msg = f"a stream that breaks off after {len(raw)} bytes"
        raise ValueError(msg)
    return content
