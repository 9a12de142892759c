"""Pixels that lie plainly in a DICOM data set: whole numbers of 1 to 64 bits, or floats."""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np
import numpy.typing as npt

from medvit.errors import ReadError
from medvit.io.dicom.elements import DicomSyntaxError
from medvit.io.dicom.header import BIG_ENDIAN, SliceHeader
from medvit.io.dicom.inflate import DEFLATED, inflated
from medvit.io.os_errors import unreadable
from medvit.io.planes import Plane

CELL_BITS = (1, 8, 12, 16, 32, 64)
"""Bits allocated to a pixel that are read; 12 is packed, two pixels in three bytes."""

_FLOATS = {0x0008: 4, 0x0009: 8}
"""Elements of group 7FE0 that hold floats, and bytes of one (PS3.3, C.7.6.24, C.7.6.25)."""


def read_cells(header: SliceHeader, rows: slice) -> Plane:
    """Return rows of a native frame `(y, x)`: stored values, in host byte order.

    Raises:
        ReadError: `truncated`, `unreadable`, `undecodable` or `bad_value`.
    """
    layout = header.layout
    bits = _known_bits(header)
    first = (header.frame * layout.rows + rows.start) * layout.columns
    count = (rows.stop - rows.start) * layout.columns
    start, stop = first * bits // 8, -(-(first + count) * bits // 8)
    # Cells of 8 bits may be swapped in pairs: whole pairs are read.
    lead, spare = start % 2, stop % 2
    element, raw = _read(header, start - lead, stop, spare=spare)
    order = ">" if header.transfer_syntax == BIG_ENDIAN else "<"
    _, number, vr = struct.unpack(f"{order}HH2s", element)
    if order == ">" and bits == 8 and vr == b"OW":
        raw = np.frombuffer(raw[: len(raw) // 2 * 2], ">u2").astype("<u2").tobytes()
    raw = raw[lead : lead + stop - start]
    if number in _FLOATS:
        return _floats(header, raw, f"{order}f{_FLOATS[number]}")
    return in_stored_bits(header, cells_of(header, raw, first, count, order=order))


def cells_of(header: SliceHeader, raw: bytes, first: int, count: int, *, order: str = "<") -> Plane:
    """Return cells as rows `(y, x)`, all allocated bits kept.

    Args:
        header: Says how wide a cell is, and whether it has a sign.
        raw: Bytes that begin at the byte in which cell `first` begins.
        first: Number of the first cell.
        count: Cells wanted.
        order: `<` or `>`.

    Raises:
        ReadError: `undecodable` for a width that is not read.
    """
    bits, kind = _known_bits(header), "i" if header.layout.is_signed else "u"
    if bits % 8:
        cells: Plane = unpack_cells(raw, bits=bits, first=first, count=count).view(f"{kind}2")
    else:
        stored = np.frombuffer(raw, f"{order}{kind}{bits // 8}", count=count)
        cells = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    return cells.reshape(-1, header.layout.columns)


def unpack_cells(raw: bytes, *, bits: int, first: int, count: int) -> npt.NDArray[np.uint16]:
    """Return cells of a bit stream, the least significant bit first (PS3.5, 8.1.1).

    Examples:
        >>> unpack_cells(bytes([0x34, 0x12, 0xAB]), bits=12, first=0, count=2).tolist()
        [564, 2737]
    """
    start = first * bits % 8
    flat = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
    cells = flat[start : start + count * bits].reshape(count, bits)
    weights = (1 << np.arange(bits)).astype(np.uint16)
    unpacked: npt.NDArray[np.uint16] = cells @ weights
    return unpacked


def in_stored_bits(header: SliceHeader, plane: Plane) -> Plane:
    """Drop bits outside the stored ones: old files keep overlays there.

    Raises:
        ReadError: `bad_value` when the bits contradict each other.
    """
    layout = header.layout
    bits = (layout.bits_allocated, layout.bits_stored, layout.high_bit)
    if not 0 < layout.bits_stored <= layout.high_bit + 1 <= layout.bits_allocated:
        msg = (
            f"{header.path.name}: bits allocated, stored and high bit {bits} contradict each other"
        )
        raise ReadError(msg, reason="bad_value", hint="export it again")
    above = plane.dtype.itemsize * 8 - 1 - layout.high_bit
    below = layout.high_bit + 1 - layout.bits_stored
    return plane if above == below == 0 else (plane << above) >> (above + below)


def _floats(header: SliceHeader, raw: bytes, form: str) -> Plane:
    cells = np.frombuffer(raw, form).astype(np.dtype(form).newbyteorder("="))
    wanted = header.layout.bits_allocated // 8
    if cells.dtype.itemsize != wanted:
        msg = f"{header.path.name}: float pixels of {wanted} bytes, {cells.dtype.itemsize} expected"
        raise ReadError(msg, reason="bad_value", hint="export it again")
    if not np.isfinite(cells).all():
        msg = f"{header.path.name}: {np.count_nonzero(~np.isfinite(cells))} pixels are no number"
        raise ReadError(msg, reason="bad_value", hint="export it again")
    return cells.reshape(-1, header.layout.columns)


def _known_bits(header: SliceHeader) -> int:
    layout = header.layout
    if layout.bits_allocated in CELL_BITS and layout.samples == 1:
        return layout.bits_allocated
    known = ", ".join(map(str, CELL_BITS))
    msg = (
        f"{header.path.name}: {layout.samples} samples of {layout.bits_allocated} bits a pixel; "
        f"one sample of {known} bits is read"
    )
    raise ReadError(msg, reason="undecodable", hint="export it as grey values of 16 bits")


def _read(header: SliceHeader, start: int, stop: int, *, spare: int) -> tuple[bytes, bytes]:
    """Return the head of the pixel element, and bytes of its value."""
    offset, value = header.layout.offset, header.layout.value_offset
    try:
        if header.transfer_syntax == DEFLATED:
            content = inflated(header.path, most_bytes=value + stop + spare)
            element, raw = content[offset : offset + 6], content[value + start :]
        else:
            with header.path.open("rb", buffering=0) as file:
                held = max(0, os.fstat(file.fileno()).st_size - value - start)
                file.seek(offset)
                element = file.read(6)
                file.seek(value + start)
                raw = file.read(min(held, stop + spare - start))
    except OSError as error:
        raise unreadable(header.path, error) from error
    except (DicomSyntaxError, zlib.error) as error:
        msg = f"{header.path.name}: the deflated data set is broken ({type(error).__name__})"
        raise ReadError(msg, reason="undecodable", hint="export it again") from error
    if not offset or len(element) < 6 or len(raw) < stop - start:
        msg = f"{header.path.name}: {len(raw)} of {stop - start} bytes of pixels found"
        raise ReadError(msg, reason="truncated", hint="copy the file again")
    return element, raw
