"""Tiny MetaImage, NRRD and OME-Zarr volumes, sound and broken."""

from __future__ import annotations

import bz2
import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]

HU = (np.arange(5 * 6 * 7).reshape(5, 6, 7) - 1000).astype(np.int16)
"""As stored, slowest axis first: 5 slices of 6 rows and 7 columns."""

SPACING_XYZ = (0.5, 0.75, 2.0)
ORIGIN_XYZ = (-10.0, 20.0, -30.5)

AFFINE_LPS = np.array(
    [[0, 0, 0.5, -10.0], [0, 0.75, 0, 20.0], [2.0, 0, 0, -30.5], [0, 0, 0, 1]], dtype=np.float64
)
"""Of `HU` with that spacing and origin, index `(z, y, x, 1)` to LPS mm."""

MET_TYPES = {"i1": "CHAR", "u1": "UCHAR", "i2": "SHORT", "u2": "USHORT", "i4": "INT"} | {
    "u4": "UINT",
    "f4": "FLOAT",
    "f8": "DOUBLE",
    "i8": "LONG_LONG",
    "u8": "ULONG_LONG",
}
NRRD_TYPES = {"i1": "int8", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int"} | {
    "u4": "uint32",
    "f4": "float",
    "f8": "double",
    "i8": "longlong",
    "u8": "uint64_t",
}
Changes = Mapping[str, str | None]
"""Header fields to replace or add; None leaves one out."""


def write_metaimage(
    path: Path, values: Values = HU, changes: Changes | None = None, *, is_packed: bool = False
) -> Path:
    """Write `.mha`, or `.mhd` with `.raw` or `.zraw`; `changes` may name another data file."""
    voxels = path.with_suffix(".zraw" if is_packed else ".raw")
    is_local = path.suffix.lower() == ".mha"
    fields: dict[str, str | None] = {
        "ObjectType": "Image",
        "NDims": str(values.ndim),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": str(values.dtype.str[0] == ">"),
        "CompressedData": str(is_packed),
        "TransformMatrix": " ".join(np.eye(values.ndim).astype(int).ravel().astype(str)),
        "Offset": " ".join(map(str, ORIGIN_XYZ)),
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": " ".join(map(str, SPACING_XYZ)),
        "DimSize": " ".join(map(str, values.shape[::-1])),
        "ElementType": f"MET_{MET_TYPES.get(values.dtype.str[1:], 'OTHER')}",
    }
    fields |= {"ElementDataFile": "LOCAL" if is_local else voxels.name} | dict(changes or {})
    data_file = fields.pop("ElementDataFile")
    fields |= {} if data_file is None else {"ElementDataFile": data_file}  # always the last
    header = "".join(f"{key} = {value}\n" for key, value in fields.items() if value is not None)
    raw = zlib.compress(values.tobytes()) if is_packed else values.tobytes()
    path.write_bytes(header.encode() + (raw if is_local else b""))
    if not is_local:
        voxels.write_bytes(raw)
    return path


NRRD_PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
}


def write_nrrd(
    path: Path,
    values: Values = HU,
    changes: Changes | None = None,
    *,
    encoding: str = "raw",
    before: bytes = b"",
) -> Path:
    """Write `.nrrd`, or `.nhdr` with its voxels in `voxels.bin`; `before` goes in front of them."""
    steps = np.diag(SPACING_XYZ)
    fields: dict[str, str | None] = {
        "type": NRRD_TYPES.get(values.dtype.str[1:], "block"),
        "dimension": str(values.ndim),
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, values.shape[::-1])),
        "space directions": " ".join(f"({','.join(map(str, step))})" for step in steps),
        "kinds": "domain domain domain",
        "endian": "big" if values.dtype.str[0] == ">" else "little",
        "encoding": encoding,
        "space origin": f"({','.join(map(str, ORIGIN_XYZ))})",
    }
    is_detached = path.suffix == ".nhdr"
    fields |= ({"data file": "voxels.bin"} if is_detached else {}) | dict(changes or {})
    lines = [f"{key}: {value}" for key, value in fields.items() if value is not None]
    header = "\n".join(["NRRD0004", "# made for a test", "maker:=a test: yes", *lines, "", ""])
    raw = before + NRRD_PACKERS[encoding](values.tobytes())
    path.write_bytes(header.encode() + (b"" if is_detached else raw))
    if is_detached:
        (path.parent / "voxels.bin").write_bytes(raw)
    return path


PLACE = {"space": "LPS", "affine_lps_zyx": AFFINE_LPS.tolist()}
UNITS = dict.fromkeys("zyx", "millimeter")


def write_zarr(
    folder: Path,
    values: Values = HU,
    *,
    version: int = 3,
    axes: str = "zyx",
    place: Mapping[str, Any] | None = PLACE,
    scale: tuple[float, ...] = SPACING_XYZ[::-1],
    **array: Any,
) -> Path:
    """Write one level of OME-Zarr 0.5 (zarr 3) or 0.4 (zarr 2) in chunks of 2x4x4 voxels."""
    import zarr

    group = zarr.create_group(folder, zarr_format=3 if version == 3 else 2, overwrite=True)
    chunks = tuple(
        min(length, 2 if name == "z" else 4)
        for name, length in zip(axes, values.shape, strict=True)
    )
    array = {"chunks": chunks, "config": {"write_empty_chunks": True}} | array
    group.create_array("0", shape=values.shape, dtype=values.dtype, **array)[...] = values
    types = {"c": "channel", "t": "time"}
    image: Any = {
        "axes": [
            {"name": n, "type": types.get(n, "space")} | ({"unit": UNITS[n]} if n in UNITS else {})
            for n in axes
        ],
        "datasets": [
            {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": list(scale)}]}
        ],
    }
    ours = {} if place is None else {"medvit": dict(place)}
    if version == 3:
        group.attrs.put({"ome": {"version": "0.5", "multiscales": [image]}, **ours})
    else:
        group.attrs.put({"multiscales": [image | {"version": "0.4"}], **ours})
    return folder


def change_json(path: Path, *keys: str | int, value: Any) -> None:
    """Replace one entry deep in a JSON file; the value `...` removes it."""
    content = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    path.write_text(json.dumps(content))
