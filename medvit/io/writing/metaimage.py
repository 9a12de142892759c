"""Writing MetaImage: `.mha` in one file, `.mhd` with its voxels in a `.raw` beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from medvit.errors import InputError
from medvit.io.writing.drafts import draft_file
from medvit.io.writing.slabs import FRACTIONAL, WHOLE, Progress, write_exactly
from medvit.volume.levels import Slab
from medvit.volume.volume import Volume

ELEMENT_TYPES = {WHOLE: "MET_SHORT", FRACTIONAL: "MET_FLOAT"}

LOCAL = "LOCAL"
"""What the header says when the voxels follow it."""

LIST = "LIST"
"""How a header begins the name of what is a list of files, not a voxel file."""


def write_metaimage(
    volume: Volume, path: Path, *, progress: Progress | None = None
) -> np.dtype[Any]:
    """Write a volume as `.mha`, or as `.mhd` and `.raw`, and return the type of its voxels.

    LPS mm, x first, uncompressed, little endian. Numbers are as long as float64 needs.

    Raises:
        InputError: If the header cannot name the voxel file.
        ReadError: If the volume cannot be read.
        OSError: If a file cannot be written; nothing is left of either.
    """
    if path.suffix.lower() == ".mha":
        with draft_file(path) as file:
            return _fill(file, volume, progress=progress, is_local=True)
    return _write_pair(volume, path, progress=progress)


def raw_path_of(path: Path) -> Path:
    """Return the file that holds the voxels of an `.mhd`.

    Examples:
        >>> raw_path_of(Path("out/1.2.3.mhd")).name
        '1.2.3.raw'
    """
    return path.with_suffix(".raw")


def _write_pair(volume: Volume, path: Path, *, progress: Progress | None) -> np.dtype[Any]:
    """Write voxels, then their header: the header is there only beside whole voxels."""
    raw_path = raw_path_of(path)
    _check_name(raw_path.name)
    is_placed = False
    try:
        with draft_file(path) as file:
            with draft_file(raw_path) as raw:
                dtype = _fill(raw, volume, progress=progress, is_local=False)
                path.unlink(missing_ok=True)
            is_placed = True
            file.write(_header(volume, dtype, data_file=raw_path.name))
    except BaseException:
        if is_placed:
            raw_path.unlink()
        raise
    return dtype


def _fill(
    file: BinaryIO, volume: Volume, *, progress: Progress | None, is_local: bool
) -> np.dtype[Any]:
    def write(dtype: np.dtype[Any], slabs: Iterator[Slab]) -> None:
        file.seek(0)
        file.truncate()
        if is_local:
            file.write(_header(volume, dtype, data_file=LOCAL))
        for slab in slabs:
            file.write(np.ascontiguousarray(slab).data)

    return write_exactly(volume, write, progress=progress)


def _header(volume: Volume, dtype: np.dtype[Any], *, data_file: str) -> bytes:
    steps = volume.affine_lps[:3, [2, 1, 0]]
    spacing_mm = np.linalg.norm(steps, axis=0)
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "ElementByteOrderMSB": "False",
        "CompressedData": "False",
        # One direction after the other: x, y, z.
        "TransformMatrix": _numbers((steps / spacing_mm).T.ravel()),
        "Offset": _numbers(volume.affine_lps[:3, 3]),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": _numbers(spacing_mm),
        "DimSize": " ".join(str(length) for length in volume.shape[::-1]),
        "ElementType": ELEMENT_TYPES[dtype],
        "ElementDataFile": data_file,
    }
    return "".join(f"{key} = {value}\n" for key, value in fields.items()).encode()


def _numbers(values: Iterable[float]) -> str:
    """Return numbers that read back as the same float64."""
    return " ".join(repr(float(value)) for value in values)


def _check_name(name: str) -> None:
    # ITK takes % for a pattern of file names and drops blanks at the ends.
    if name.startswith(LIST) or "%" in name or name != name.strip() or not name.isprintable():
        msg = f"{name!r}: a MetaImage header cannot name its voxel file so"
        raise InputError(msg, hint="take another name, or write .mha, which is one file")
