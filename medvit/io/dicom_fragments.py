"""The frame of compressed DICOM pixels: is it whole, and what does its codestream claim."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from medvit.io.dicom_header import SliceHeader

J2K_SYNTAXES = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"})

_ITEM = (0xFFFE, 0xE000)
_END = (0xFFFE, 0xE0DD)
_J2K_START = b"\xff\x4f\xff\x51"
_J2K_SIGN_BYTE = 42


@dataclass(frozen=True, slots=True)
class Fragments:
    """What a walk over the items of encapsulated pixels found.

    Attributes:
        is_whole: Whether every item ends inside the file and one holds data.
        is_signed_j2k: The sign flag of a JPEG 2000 codestream; None for others.
    """

    is_whole: bool
    is_signed_j2k: bool | None


def walk_fragments(header: SliceHeader) -> Fragments:
    """Follow the items of encapsulated pixels without reading their content.

    Raises:
        OSError: If the file cannot be opened.
    """
    place, items, first = header.layout.value_offset, 0, b""
    with header.path.open("rb") as file:
        while place + 8 <= header.file_bytes:
            file.seek(place)
            raw = file.read(8)
            tag, length = struct.unpack("<HH", raw[:4]), struct.unpack("<L", raw[4:])[0]
            if tag != _ITEM:
                return Fragments(tag == _END and items > 1, _j2k_sign(header, first))
            place += 8 + length
            if items == 1:
                first = file.read(min(length, _J2K_SIGN_BYTE + 1))
            items += 1
    # Some writers leave the closing delimiter out; the data are whole all the same.
    return Fragments(place == header.file_bytes and items > 1, _j2k_sign(header, first))


def _j2k_sign(header: SliceHeader, first: bytes) -> bool | None:
    """Read the sign bit of the SIZ marker (ISO 15444-1, A.5.1)."""
    if header.transfer_syntax not in J2K_SYNTAXES or not first.startswith(_J2K_START):
        return None
    return len(first) > _J2K_SIGN_BYTE and bool(first[_J2K_SIGN_BYTE] & 0x80)
