"""MetaImage volumes (.mha, .mhd with .raw or .zraw): a text header, LPS and x-first on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

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

MOST_HEADER_BYTES = 64 * 1024
"""A header is some hundred bytes; it ends with the line that names the voxels."""

LAST_KEY = "ElementDataFile"

DTYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
"""Element types of one length; MET_LONG has 4 or 8 bytes, as the writing system had it."""

DIRECTION_KEYS = ("TransformMatrix", "Orientation", "Rotation")
POSITION_KEYS = ("Offset", "Position", "Origin")
SPACING_KEYS = ("ElementSpacing", "ElementSize")
ORDER_KEYS = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
IDENTITY_KEYS = {"ElementToIntensityFunctionSlope": 1.0, "ElementToIntensityFunctionOffset": 0.0}
"""A rescale that readers of the format do not apply; the value that changes nothing."""

UNIT_TOLERANCE = 1e-3
"""By how much a direction may differ from unit length."""

Fields = Mapping[str, str]


def read_metaimage(path: Path) -> tuple[StoredGrid, VoxelFile]:
    """Return the grid and the voxels of a MetaImage.

    AnatomicalOrientation is not looked at: it is often left at RAI where the matrix says
    otherwise (in part of LUNA16), and readers go by the matrix.

    Raises:
        ReadError: With the reason, when the header does not give a volume in space.
    """
    fields, end, stamp = _read_fields(path)
    _check_kind(path, fields)
    lengths = three_lengths(path, whole_numbers(path, "DimSize", fields.get("DimSize", "")))
    header = StoredHeader(path, lengths, _dtype(path, fields), _affine_lps(path, fields))
    return grid_of(header), _voxel_file(header, fields, end, stamp)


def _read_fields(path: Path) -> tuple[Fields, int, Stamp]:
    """Return the header by key, the byte after it, and the stamp of the file."""
    try:
        with path.open("rb") as file:
            head, stamp = file.read(MOST_HEADER_BYTES), stamp_of(file)
    except OSError as error:
        raise unreadable(path, error) from error
    fields: dict[str, str] = {}
    end = 0
    while LAST_KEY not in fields:
        stop = head.find(b"\n", end)
        line = head[end : stop if stop >= 0 else None].decode("latin-1")
        key, mark, value = line.partition("=")
        is_last = stop < 0
        if (line.strip() and not mark) or (is_last and key.strip() != LAST_KEY):
            raise _no_metaimage(path, head)
        fields[key.strip()] = value.strip()
        end = len(head) if is_last else stop + 1
    return fields, end, stamp


def _no_metaimage(path: Path, head: bytes) -> ReadError:
    msg = f"{path.name}: no MetaImage header that ends in {LAST_KEY} ({len(head)} bytes looked at)"
    reason = "truncated" if not head else "not_an_image"
    return ReadError(msg, reason=reason, hint="copy or write the volume again")


def _check_kind(path: Path, fields: Fields) -> None:
    """Refuse objects, encodings and voxels of several values, by name."""
    name = path.name
    if fields.get("ObjectType", "Image").lower() != "image":
        msg = f"{name}: ObjectType is {fields['ObjectType'][:40]!r}, not Image"
        raise ReadError(msg, reason="not_an_image", hint="give the CT volume itself")
    if not _flag(path, fields, "BinaryData", default=True):
        msg = f"{name}: the voxels are text (BinaryData = False), which is not read"
        raise ReadError(msg, reason="encoding", hint="write it again as binary data")
    channels = fields.get("ElementNumberOfChannels", "1")
    if channels != "1":
        msg = f"{name}: {channels[:20]} values in a voxel, a CT has one"
        raise ReadError(msg, reason="wrong_dimensions", hint="split it into single volumes")
    for key, neutral in IDENTITY_KEYS.items():
        if key in fields and finite_numbers(path, key, fields[key], count=1)[0] != neutral:
            msg = f"{name}: {key} is {fields[key][:20]}, which readers of MetaImage do not apply"
            raise ReadError(msg, reason="bad_value", hint="write the voxels in HU, without it")


def _flag(path: Path, fields: Fields, key: str, *, default: bool) -> bool:
    value = fields.get(key, str(default))
    if value.lower() not in ("true", "false", "1", "0"):
        msg = f"{path.name}: {key} is {value[:40]!r}, neither True nor False"
        raise ReadError(msg, reason="bad_value", hint="write the volume again")
    return value.lower() in ("true", "1")


def _dtype(path: Path, fields: Fields) -> np.dtype[np.generic]:
    name = fields.get("ElementType", "")
    if name not in DTYPES:
        msg = f"{path.name}: ElementType {name[:40]!r} is not one of single numbers"
        raise ReadError(msg, reason="bad_value", hint="convert to MET_SHORT")
    key = next((key for key in ORDER_KEYS if key in fields), ORDER_KEYS[0])
    is_big = _flag(path, fields, key, default=False)
    return np.dtype(f"{'>' if is_big else '<'}{DTYPES[name]}")


def _affine_lps(path: Path, fields: Fields) -> npt.NDArray[np.float64]:
    """Return index along the axes of the file to LPS mm; what is not stated is not guessed."""
    count = max(3, len(fields.get("DimSize", "").split()[:8]))
    spacing_mm = _numbers(path, fields, SPACING_KEYS, count)[:3]
    if spacing_mm.min() <= 0:
        msg = f"{path.name}: spacing {spacing_mm.tolist()} mm must be positive"
        raise ReadError(msg, reason="bad_value", hint=WRITE_AGAIN_HINT)
    origin_mm = _numbers(path, fields, POSITION_KEYS, count)[:3]
    directions = _numbers(path, fields, DIRECTION_KEYS, count * count)
    cosines = directions.reshape(count, count)[:3, :3]  # a row is the direction of an axis
    is_short = np.abs(cosines).max() <= 1 + UNIT_TOLERANCE
    if not is_short or np.abs(np.linalg.norm(cosines, axis=1) - 1).max() > UNIT_TOLERANCE:
        msg = f"{path.name}: directions {cosines.tolist()} are not of unit length"
        raise ReadError(msg, reason="bad_value", hint=WRITE_AGAIN_HINT)
    affine = np.eye(4)
    affine[:3, :3] = cosines.T * spacing_mm
    affine[:3, 3] = origin_mm
    return affine


def _numbers(
    path: Path, fields: Fields, keys: tuple[str, ...], count: int
) -> npt.NDArray[np.float64]:
    """Return the numbers under the first of some keys that is there."""
    key = next((key for key in keys if key in fields), None)
    if key is None:
        msg = f"{path.name}: no {keys[0]}, so the place of voxels is unknown"
        raise ReadError(msg, reason="no_position", hint=WRITE_AGAIN_HINT)
    return np.array(finite_numbers(path, key, fields[key], count=count))


def _voxel_file(header: StoredHeader, fields: Fields, end: int, stamp: Stamp) -> VoxelFile:
    path = header.path
    packing: Packing = "deflate" if _flag(path, fields, "CompressedData", default=False) else ""
    skip = whole_numbers(path, "HeaderSize", fields.get("HeaderSize", "0"), count=1)[0]
    name = fields[LAST_KEY]
    if name.split()[:1] == ["LIST"] or "%" in name:
        msg = f"{path.name}: voxels in several files ({name[:40]!r}) are not read"
        raise ReadError(msg, reason="encoding", hint="write the volume into one file")
    voxels = path
    if name.upper() != "LOCAL":
        voxels, stamp = voxels_named(path, name)
        end = 0
    if skip < -1 or (skip == -1 and packing):
        msg = f"{path.name}: HeaderSize {skip} does not say where voxels start"
        raise ReadError(msg, reason="bad_value", hint="write the volume again")
    start = max(stamp[0] - header.voxel_bytes, 0) if skip == -1 else end + skip
    return VoxelFile(voxels, packing, start, 0, stamp)
