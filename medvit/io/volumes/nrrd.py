"""NRRD volumes (.nrrd, or .nhdr with its voxels beside it): a text header, x-first on disk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from medvit.errors import ReadError
from medvit.io.os_errors import unreadable
from medvit.io.volumes.beside import voxels_named
from medvit.io.volumes.grid import (
    WRITE_AGAIN_HINT,
    StoredGrid,
    StoredHeader,
    grid_of,
    three_lengths,
)
from medvit.io.volumes.numbers import finite_numbers, whole_numbers
from medvit.io.volumes.unpacked import Packing
from medvit.io.volumes.voxel_file import Stamp, VoxelFile, stamp_of

MOST_HEADER_BYTES = 256 * 1024
"""Headers of Slicer with many key and value pairs stay below; the first empty line ends one."""

MOST_SKIPPED_BYTES = 1024 * 1024
"""How far lines are skipped in front of voxels."""

MARK = re.compile(rb"NRRD000[1-5]\r?\n")

_C_NAMES = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, "
    "int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
DTYPES = {name: dtype for dtype, names in _C_NAMES.items() for name in names.split(", ")}
"""The names of NRRD's `type` field, section 5 of its format definition."""

PACKINGS: dict[str, Packing] = {
    "raw": "",
    "gzip": "deflate",
    "gz": "deflate",
    "bzip2": "bzip2",
    "bz2": "bzip2",
}

TO_LPS = {
    "left-posterior-superior": (1.0, 1.0, 1.0),
    "lps": (1.0, 1.0, 1.0),
    "right-anterior-superior": (-1.0, -1.0, 1.0),
    "ras": (-1.0, -1.0, 1.0),
    "left-anterior-superior": (1.0, -1.0, 1.0),
    "las": (1.0, -1.0, 1.0),
}
"""The spaces of NRRD that lie in the patient, and what turns them to LPS."""

MM_PER_UNIT = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001, "": 1.0, "???": 1.0}
"""Space units; none stated means mm by common use."""

Fields = Mapping[str, str]


def read_nrrd(path: Path) -> tuple[StoredGrid, VoxelFile]:
    """Return the grid and the voxels of an NRRD file.

    Raises:
        ReadError: With the reason, when the header does not give a volume in space.
    """
    fields, end, stamp = _read_fields(path)
    lengths, affine_lps = _box(path, fields)
    header = StoredHeader(path, lengths, _dtype(path, fields), affine_lps)
    return grid_of(header), _voxel_file(header, fields, end, stamp)


def _read_fields(path: Path) -> tuple[Fields, int, Stamp]:
    """Return the header by field, the byte after it, and the stamp of the file.

    A detached header may do without the empty line at its end.
    """
    try:
        with path.open("rb") as file:
            head, stamp = file.read(MOST_HEADER_BYTES), stamp_of(file)
    except OSError as error:
        raise unreadable(path, error) from error
    mark = MARK.match(head)
    if mark is None:
        msg = f"{path.name}: does not start with the mark of an NRRD file"
        reason = "truncated" if not head else "not_an_image"
        raise ReadError(msg, reason=reason, hint="copy or write the volume again")
    empty_line = re.compile(rb"\r?\n\r?\n").search(head, mark.end() - 2)
    text = head[mark.end() : empty_line.start() if empty_line else None]
    end = empty_line.end() if empty_line else len(head)
    fields: dict[str, str] = {}
    for line in text.decode("latin-1").splitlines():
        name, colon, value = line.partition(": ")
        if line.startswith("#") or ":=" in line or not colon:
            continue
        fields[name.strip().lower().replace("datafile", "data file")] = value.strip()
    if empty_line is None and "data file" not in fields:
        msg = f"{path.name}: the header has no end in its first {len(head)} bytes"
        raise ReadError(msg, reason="truncated", hint="copy the file again")
    return fields, end, stamp


def _dtype(path: Path, fields: Fields) -> np.dtype[np.generic]:
    name = fields.get("type", "").lower()
    if name not in DTYPES:
        msg = f"{path.name}: type {name[:40]!r} is not one of single numbers"
        raise ReadError(msg, reason="bad_value", hint="convert to short")
    dtype: np.dtype[np.generic] = np.dtype(DTYPES[name])
    if dtype.itemsize == 1:
        return dtype
    endian = fields.get("endian", "").lower()
    if endian not in ("little", "big"):
        msg = f"{path.name}: endian is {endian[:40]!r}, neither little nor big"
        raise ReadError(msg, reason="bad_value", hint="write the volume again")
    return dtype.newbyteorder("<" if endian == "little" else ">")


def _box(path: Path, fields: Fields) -> tuple[tuple[int, int, int], npt.NDArray[np.float64]]:
    """Return the lengths of the axes that lie in space, and index along them to LPS mm."""
    count = whole_numbers(path, "dimension", fields.get("dimension", ""), count=1)[0]
    sizes = whole_numbers(path, "sizes", fields.get("sizes", ""), count=count)
    if count == 3:
        three_lengths(path, sizes)
    space = fields.get("space", "").lower()
    if space not in TO_LPS:
        msg = f"{path.name}: space is {space[:40]!r}, so left and right are unknown"
        raise ReadError(msg, reason="no_position", hint=WRITE_AGAIN_HINT)
    directions = _vectors(path, fields, "space directions")
    (origin,) = _vectors(path, fields, "space origin")[:1] or [None]
    if origin is None or len(directions) != count:
        msg = f"{path.name}: {len(directions)} space directions for {count} axes, or no origin"
        raise ReadError(msg, reason="no_position", hint=WRITE_AGAIN_HINT)
    placed = [axis for axis, direction in enumerate(directions) if direction is not None]
    aside = [sizes[axis] for axis in range(count) if axis not in placed]
    if any(size != 1 for size in aside):
        msg = f"{path.name}: axes of {aside} values that lie in no direction, a CT has one value"
        raise ReadError(msg, reason="wrong_dimensions", hint="split it into single volumes")
    lengths = three_lengths(path, [sizes[axis] for axis in placed])
    affine = np.eye(4)
    affine[:3, :3] = np.array([directions[axis] for axis in placed]).T
    affine[:3, 3] = origin
    with np.errstate(over="ignore"):
        affine[:3] *= (np.array(TO_LPS[space]) * _mm_per_unit(path, fields))[:, None]
    return lengths, affine


def _vectors(path: Path, fields: Fields, name: str) -> list[list[float] | None]:
    """Return the vectors `(a,b,c)` of a field, None for `none`."""
    words = re.findall(r"\([^()]*\)|[^\s()]+", fields.get(name, "")[: MOST_HEADER_BYTES // 16])
    vectors: list[list[float] | None] = []
    for word in words[:16]:
        if word.lower() == "none":
            vectors.append(None)
        else:
            numbers = word.strip("()").replace(",", " ")
            vectors.append(finite_numbers(path, name, numbers, count=3))
    return vectors


def _mm_per_unit(path: Path, fields: Fields) -> npt.NDArray[np.float64]:
    units = re.findall(r'"([^"]*)"', fields.get("space units", "")) or [""] * 3
    if len(units) != 3 or any(unit.lower() not in MM_PER_UNIT for unit in units):
        msg = f"{path.name}: space units {units[:3]} are not three known ones"
        raise ReadError(msg, reason="bad_value", hint="write the volume again, in mm")
    return np.array([MM_PER_UNIT[unit.lower()] for unit in units])


def _voxel_file(header: StoredHeader, fields: Fields, end: int, stamp: Stamp) -> VoxelFile:
    path = header.path
    encoding = fields.get("encoding", "").lower()
    if encoding not in PACKINGS:
        msg = f"{path.name}: encoding is {encoding[:40]!r}; raw, gzip and bzip2 are read"
        raise ReadError(msg, reason="encoding", hint="write it again as gzip")
    packing = PACKINGS[encoding]
    voxels, start = path, end
    if "data file" in fields:
        name = fields["data file"]
        if name.split()[:1] == ["LIST"] or "%" in name:
            msg = f"{path.name}: voxels in several files ({name[:40]!r}) are not read"
            raise ReadError(msg, reason="encoding", hint="write the volume into one file")
        voxels, stamp = voxels_named(path, name)
        start = 0
    lines = _skip(path, fields, "line skip")
    start = _after_lines(voxels, start, lines) if lines > 0 else start
    skip = _skip(path, fields, "byte skip")
    if lines < 0 or skip < -1 or (skip == -1 and packing):
        msg = f"{path.name}: line skip {lines}, byte skip {skip} do not say where voxels start"
        raise ReadError(msg, reason="bad_value", hint="write the volume again")
    if skip == -1:
        return VoxelFile(voxels, packing, max(stamp[0] - header.voxel_bytes, 0), 0, stamp)
    # In a packed file bytes are skipped after unpacking.
    return VoxelFile(
        voxels, packing, start + (0 if packing else skip), skip if packing else 0, stamp
    )


def _skip(path: Path, fields: Fields, name: str) -> int:
    value = fields.get(name, fields.get(name.replace(" ", ""), "0"))
    return whole_numbers(path, name, value, count=1)[0]


def _after_lines(path: Path, start: int, lines: int) -> int:
    """Return the byte after some lines."""
    try:
        with path.open("rb") as file:
            return start + _length_of_lines(file, start, lines, path)
    except OSError as error:
        raise unreadable(path, error) from error


def _length_of_lines(file: BinaryIO, start: int, lines: int, path: Path) -> int:
    file.seek(start)
    head = file.read(MOST_SKIPPED_BYTES)
    end = 0
    for _ in range(min(lines, len(head) + 1)):
        end = head.find(b"\n", end) + 1
        if end == 0:
            msg = f"{path.name}: {lines} lines to skip, the first {len(head)} bytes hold fewer"
            raise ReadError(msg, reason="bad_value", hint="write the volume again")
    return end
