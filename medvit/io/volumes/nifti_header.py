"""The fields of a NIfTI-1 or NIfTI-2 header, of either byte order, as they are stored."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medvit.errors import ReadError
from medvit.io.volumes.unpacked import Unpacked

HEADER_BYTES = {1: 348, 2: 540}
"""Length of the header by NIfTI version, which is its first field too."""

MARKS = {1: (b"n+1\0", b"ni1\0"), 2: (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n")}
"""By version: what stands in a single file, and in one with its voxels beside it."""

DTYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
"""Data type codes of single numbers; the others are bits, colours, complex or too long."""

COMMENT_CODE = 6
"""Header extension of plain text (NIfTI's list of extension codes)."""

MOST_EXTENSIONS = 64
MOST_EXTENSION_BYTES = 64 * 1024

_NAMES = (
    "dim data_type pixdim offset slope intercept units "
    "qform_code sform_code quaternion q_offset sform"
)


def _layout(formats: str, offsets: tuple[int, ...], itemsize: int) -> np.dtype[np.void]:
    columns: Any = {"names": _NAMES.split(), "formats": formats.split(), "offsets": offsets}
    columns["itemsize"] = itemsize
    layout: np.dtype[np.void] = np.dtype(columns)
    return layout


FIELDS = {
    1: _layout(
        "8i2 i2 8f4 f4 f4 f4 u1 i2 i2 3f4 3f4 (3,4)f4",
        (40, 70, 76, 108, 112, 116, 123, 252, 254, 256, 268, 280),
        HEADER_BYTES[1],
    ),
    2: _layout(
        "8i8 i2 8f8 i8 f8 f8 i4 i4 i4 3f8 3f8 (3,4)f8",
        (16, 12, 104, 168, 176, 184, 500, 344, 348, 352, 376, 400),
        HEADER_BYTES[2],
    ),
}
"""By version: where the fields lie that are read here, little endian (nifti1.h, nifti2.h)."""

ByteOrder = Literal["<", ">"]
BYTE_ORDERS: tuple[ByteOrder, ...] = ("<", ">")

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class NiftiFields:
    """What a header holds.

    Attributes:
        lengths: By axis, fastest first, as many as are declared.
        spacing: pixdim 1 to 3, in the length unit.
        handedness: pixdim 0: the sign of the third axis of the qform.
        offset: Byte where voxels start.
        length_unit: Code of the unit of all lengths.
        quaternion: b, c and d of the qform.
        is_single: Whether voxels follow in the same file.
        exact_ras_mm: Affine of medvit's own extension, or None.
    """

    version: int
    byte_order: ByteOrder
    lengths: tuple[int, ...]
    data_type: int
    spacing: Matrix
    handedness: float
    offset: float
    slope: float
    intercept: float
    length_unit: int
    qform_code: int
    sform_code: int
    quaternion: Matrix
    q_offset: Matrix
    sform: Matrix
    is_single: bool
    exact_ras_mm: Matrix | None


def read_fields(stream: Unpacked, path: Path) -> NiftiFields:
    """Read the header at the start of a stream.

    Raises:
        ReadError: `not_an_image` or `truncated`.
    """
    first = stream.read(HEADER_BYTES[1])
    version, byte_order = _form_of(first)
    if version == 0:
        is_short = 0 < len(first) < HEADER_BYTES[1] and _form_of(first[:4])[0] > 0
        msg = f"{path.name}: not a NIfTI header ({len(first)} bytes of one looked at)"
        reason = "truncated" if is_short or not first else "not_an_image"
        raise ReadError(msg, reason=reason, hint="copy or write the volume again")
    raw = first + stream.read_all(HEADER_BYTES[version] - len(first))
    mark = raw[4:12] if version == 2 else raw[344:348]
    if mark not in MARKS[version]:
        msg = f"{path.name}: no mark of NIfTI-{version}; older Analyze files tell no side"
        raise ReadError(msg, reason="not_an_image", hint="convert the volume to NIfTI")
    row = np.frombuffer(raw, FIELDS[version].newbyteorder(byte_order))[0]
    is_single = mark == MARKS[version][0]
    offset = float(row["offset"])
    exact = _exact_affine(stream, byte_order, offset) if is_single else None
    return NiftiFields(
        version=version,
        byte_order=byte_order,
        lengths=tuple(int(n) for n in row["dim"][1 : 1 + max(int(row["dim"][0]), 0)]),
        data_type=int(row["data_type"]),
        spacing=row["pixdim"][1:4].astype(np.float64),
        handedness=float(row["pixdim"][0]),
        offset=offset,
        slope=float(row["slope"]),
        intercept=float(row["intercept"]),
        length_unit=int(row["units"]) & 7,
        qform_code=int(row["qform_code"]),
        sform_code=int(row["sform_code"]),
        quaternion=row["quaternion"].astype(np.float64),
        q_offset=row["q_offset"].astype(np.float64),
        sform=np.vstack([row["sform"].astype(np.float64), [0.0, 0.0, 0.0, 1.0]]),
        is_single=is_single,
        exact_ras_mm=exact,
    )


def _form_of(raw: bytes) -> tuple[int, ByteOrder]:
    """Return version and byte order by the first field; version 0 when it is neither."""
    for byte_order in BYTE_ORDERS:
        for version, size in HEADER_BYTES.items():
            if raw[:4] == struct.pack(f"{byte_order}i", size):
                return version, byte_order
    return 0, "<"


def _exact_affine(stream: Unpacked, order: str, end: float) -> Matrix | None:
    """Return the affine that medvit adds where single precision is too coarse."""
    for text in _iter_comments(stream, order, end):
        try:
            affine = np.asarray(json.loads(text)["medvit"]["affine_ras"], dtype=np.float64)
        except (ValueError, TypeError, LookupError, RecursionError):
            continue
        if affine.shape == (4, 4):
            return affine
    return None


def _iter_comments(stream: Unpacked, order: str, end: float) -> Iterator[bytes]:
    """Yield the texts of comment extensions between header and voxels."""
    # Written so that an end that is no number ends it.
    if not stream.position + 4 <= end or not stream.read_all(4)[0]:
        return
    for _ in range(MOST_EXTENSIONS):
        if stream.position + 8 > end:
            return
        size, code = struct.unpack(f"{order}2i", stream.read_all(8))
        if size < 8 or stream.position + size - 8 > end:
            return
        if code == COMMENT_CODE and size <= MOST_EXTENSION_BYTES:
            yield stream.read_all(size - 8).rstrip(b"\0")
        else:
            stream.skip_to(stream.position + size - 8)
