"""What the JSON files of an OME-Zarr folder say, checked before any library sees them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medvit.errors import ReadError
from medvit.io.os_errors import unreadable

ZarrVersion = Literal[2, 3]

GROUP_FILES: dict[ZarrVersion, str] = {3: "zarr.json", 2: ".zattrs"}
"""Where the attributes of a group lie, by zarr version; OME-Zarr 0.5 is on 3, 0.4 on 2."""

ARRAY_FILES: dict[ZarrVersion, str] = {3: "zarr.json", 2: ".zarray"}

MOST_JSON_BYTES = 16 * 1024 * 1024
MOST_CHUNK_BYTES = 256 * 1024 * 1024
"""Largest chunk, and largest file of chunks, that is unpacked."""

MOST_AXES = 8

EXACT_CODECS = frozenset(
    {
        "adler32",
        "blosc",
        "bytes",
        "crc32",
        "crc32c",
        "delta",
        "fletcher32",
        "gzip",
        "lz4",
        "sharding_indexed",
        "shuffle",
        "transpose",
        "zlib",
        "zstd",
    }
)
"""What may stand between voxels and files. Others change values, run code from a file, or cannot be
kept from taking memory (`checked_codecs`)."""

MM_PER_UNIT = {
    "millimeter": 1.0,
    "micrometer": 1e-3,
    "nanometer": 1e-6,
    "centimeter": 10.0,
    "meter": 1000.0,
    "": 1.0,
}
"""Length units of OME-Zarr that a patient may be measured in; none stated means mm."""

SPACE_AXES = frozenset("xyz")

DATA_TYPES = {
    **{f"int{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    "float32": "<f4",
    "float64": "<f8",
}
"""Names of zarr 3; zarr 2 has those of numpy."""

DAMAGED = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What comes of JSON that is not what it should be."""


@dataclass(frozen=True, slots=True, eq=False)
class Multiscale:
    """The finest level of an image.

    Attributes:
        names: Of the axes, slowest first.
        scale_mm: Along z, y and x.
        affine_lps: Index `(z, y, x, 1)` to LPS mm, as medvit writes it.
    """

    zarr_version: ZarrVersion
    level: Path
    names: tuple[str, ...]
    scale_mm: npt.NDArray[np.float64]
    affine_lps: npt.NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class ArrayForm:
    """The form of an array: lengths and chunk lengths slowest first."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[np.generic]


def read_multiscale(folder: Path) -> Multiscale:
    """Return the finest level of the first image of an OME-Zarr group.

    Raises:
        ReadError: With the reason, when it is none, or no volume in space.
    """
    version, attributes = _attributes(folder)
    try:
        images = attributes["ome"] if version == 3 else attributes
        image = images["multiscales"][0]
        axes = [(axis["name"], axis.get("type"), axis.get("unit", "")) for axis in image["axes"]]
        dataset = image["datasets"][0]
        level = _inside(folder, dataset["path"])
        scale = _scale(dataset, len(axes)) * _scale(image, len(axes))
        names = tuple(str(name) for name, _, _ in axes)
        per_unit = np.array([MM_PER_UNIT[axes[names.index(name)][2]] for name in "zyx"])
        scale_mm = scale[[names.index(name) for name in "zyx"]] * per_unit
        affine_lps = _affine(attributes)
    except DAMAGED as error:
        msg = f"{folder.name}: no image of OME-Zarr 0.4 or 0.5 with axes z, y, x ({error})"[:300]
        raise ReadError(msg, reason="bad_value", hint="write it again as OME-Zarr 0.5") from error
    return Multiscale(version, level, names, scale_mm, affine_lps)


def read_form(level: Path, zarr_version: ZarrVersion) -> ArrayForm:
    """Return the form of an array, refusing what would take too much memory or run code.

    Raises:
        ReadError: With the reason.
    """
    metadata = read_json(level / ARRAY_FILES[zarr_version])
    try:
        form = _form_3(metadata) if zarr_version == 3 else _form_2(metadata)
        unknown = sorted(set(_codec_names(metadata)) - EXACT_CODECS)
    except DAMAGED as error:
        msg = f"{level.name}: the metadata of the array are broken ({error})"[:300]
        raise ReadError(msg, reason="bad_value", hint="write it again") from error
    if unknown:
        msg = f"{level.name}: codecs {unknown[:4]} are not read"
        raise ReadError(msg, reason="undecodable", hint="write it again with blosc or zstd")
    chunk_bytes = prod(form.chunks) * form.dtype.itemsize
    if chunk_bytes > MOST_CHUNK_BYTES:
        msg = f"{level.name}: chunks of {chunk_bytes} bytes, {MOST_CHUNK_BYTES} are the most"
        raise ReadError(msg, reason="too_large", hint="write it again in smaller chunks")
    return form


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        ReadError: `missing_data`, `too_large`, `bad_value` or `unreadable`.
    """
    name = f"{path.parent.name}/{path.name}"
    try:
        with path.open("rb") as file:
            content = file.read(MOST_JSON_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        msg = f"{name}: the file is not there"
        raise ReadError(msg, reason="missing_data", hint="copy the whole folder") from error
    except OSError as error:
        raise unreadable(path, error) from error
    if len(content) > MOST_JSON_BYTES:
        msg = f"{name}: more than {MOST_JSON_BYTES} bytes of metadata"
        raise ReadError(msg, reason="too_large", hint="write it again")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        msg = f"{name}: {len(content)} bytes that are no JSON"
        reason = "bad_value" if content else "truncated"
        raise ReadError(msg, reason=reason, hint="copy the whole folder again") from error


def _attributes(folder: Path) -> tuple[ZarrVersion, Any]:
    for version, name in GROUP_FILES.items():
        if (folder / name).exists():
            content = read_json(folder / name)
            if version == 2:
                return 2, content
            return 3, content.get("attributes", {}) if isinstance(content, dict) else {}
    msg = f"{folder.name}: neither {' nor '.join(GROUP_FILES.values())} in it"
    raise ReadError(msg, reason="missing_data", hint="copy the whole folder")


def _inside(folder: Path, name: str) -> Path:
    """Return a folder below; a name may not lead out."""
    parts = set(PurePosixPath(name).parts) | set(PureWindowsPath(name).parts)
    is_rooted = PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor
    if is_rooted or ".." in parts or not name.isprintable():
        msg = f"the path of a level must lead down, not to {name[:80]!r}"
        raise ValueError(msg)
    return folder / name


def _scale(part: Any, count: int) -> npt.NDArray[np.float64]:
    """Return the product of the scales; a translation is in the affine too, and nothing else is."""
    scale = np.ones(count)
    for step in part.get("coordinateTransformations", []):
        if step["type"] not in ("identity", "scale", "translation"):
            msg = f"a transformation of type {str(step['type'])[:40]!r}"
            raise ValueError(msg)
        if step["type"] == "scale":
            with np.errstate(over="ignore"):
                scale = scale * np.array(step["scale"], np.float64).reshape(count)
    return scale


def _affine(attributes: Any) -> npt.NDArray[np.float64] | None:
    place = attributes.get("medvit")
    if place is None or place["space"] != "LPS":
        return None
    return np.array(place["affine_lps_zyx"], np.float64).reshape(4, 4)


def _form_3(metadata: Any) -> ArrayForm:
    grid = metadata["chunk_grid"]
    if metadata["node_type"] != "array" or grid["name"] != "regular":
        msg = f"a {metadata['node_type']!r} with a {grid['name']!r} grid"[:200]
        raise ValueError(msg)
    dtype = np.dtype(DATA_TYPES[metadata["data_type"]])
    return _form(metadata["shape"], grid["configuration"]["chunk_shape"], dtype)


def _form_2(metadata: Any) -> ArrayForm:
    dtype = np.dtype(str(metadata["dtype"]))
    if dtype.kind not in "iuf":
        msg = f"voxels of type {str(dtype)[:40]}"
        raise ValueError(msg)
    return _form(metadata["shape"], metadata["chunks"], dtype)


def _form(shape: Sequence[Any], chunks: Sequence[Any], dtype: np.dtype[np.generic]) -> ArrayForm:
    lengths = [*shape, *chunks]
    if not (len(shape) == len(chunks) <= MOST_AXES and all(type(n) is int for n in lengths)):
        msg = f"shape {str(shape)[:60]} and chunks {str(chunks)[:60]}"
        raise ValueError(msg)
    if min(lengths) < 1:
        msg = f"a length of {min(lengths)}"
        raise ValueError(msg)
    return ArrayForm(tuple(shape), tuple(chunks), dtype)


def _codec_names(metadata: Any) -> Iterator[str]:
    """Yield the name of every codec, also of those inside others."""
    if isinstance(metadata.get("codecs"), list):
        for codec in metadata["codecs"]:
            yield codec["name"].removeprefix("numcodecs.")
            inner = codec.get("configuration") or {}
            yield from _codec_names(inner)
            yield from _codec_names({"codecs": inner.get("index_codecs")})
        return
    for codec in [metadata.get("compressor"), *(metadata.get("filters") or [])]:
        if codec is not None:
            yield codec["id"]
