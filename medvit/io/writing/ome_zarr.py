"""Writing OME-Zarr 0.5: a pyramid in sharded zarr v3, made in one pass over the volume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numcodecs  # type: ignore[import-untyped]
import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from medvit.geometry import Affine
from medvit.io.writing.cascade import Target, pour_volume, slab_depths
from medvit.io.writing.drafts import draft_folder
from medvit.io.writing.shards import Shards
from medvit.io.writing.slabs import SLAB_BYTES, Progress, in_exact_type
from medvit.volume.levels import Kind, Level, affine_of_level, plan_levels
from medvit.volume.volume import Volume

OME_VERSION = "0.5"
AXES = ("z", "y", "x")

CHUNK_VOXELS = 64**3
SHARD_SIDE = 256
"""Voxels along y and x of one file; along z a file is one chunk deep, so it is written once."""

SMALL = BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")
"""For volumes that are kept and sent."""

FAST = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle")
"""For volumes that are read soon: a chest becomes 1.5 times smaller in a third of the time."""

PARTS: dict[Kind, str] = {"mean": "", "min": "lows/", "max": "highs/"}
"""In front of the number of a level: where the group holds what was made of its voxels."""

ABOUT_LEVELS: dict[Kind, str] = {
    "mean": "mean over 2 voxels along each axis that is halved; int16 values are rounded",
    "min": "least of 2 voxels along each axis that is halved",
    "max": "largest of 2 voxels along each axis that is halved",
}
ABOUT_PLACE = (
    "scale and translation are mm along the axes of the volume: LPS coordinates when the axes "
    "are those of the patient, LPS turned to them when they are not"
)


@dataclass(frozen=True, slots=True)
class GroupForm:
    """What an OME-Zarr group holds of a volume.

    Attributes:
        levels: Of the pyramid, the volume itself first.
        first: Number of the finest level that is stored, by what is made of voxels.
        codec: How chunks are packed.
        source_case: Case id that goes into the attributes.
    """

    levels: Sequence[Level]
    first: Mapping[Kind, int]
    codec: BloscCodec = SMALL
    source_case: str = ""

    def arrays(self) -> Iterator[tuple[Kind, int]]:
        """Yield kind and number of each level that is stored."""
        for kind, first in self.first.items():
            yield from ((kind, number) for number in range(first, len(self.levels)))


def write_ome_zarr(
    volume: Volume,
    folder: Path,
    *,
    progress: Progress | None = None,
    source_case: str = "",
    slab_bytes: int = SLAB_BYTES,
) -> np.dtype[Any]:
    """Write a volume as an OME-Zarr pyramid and return the type of its voxels.

    y and x are halved, and z once its spacing is near theirs, until no side is longer than
    128. Chunks of about 64x64x64 voxels lie in files of up to 256x256 of them across, packed
    by Blosc (Zstandard) and guarded by CRC-32C. The group's attribute `medvit` holds the
    place of the finest level: `{"space": "LPS", "affine_lps_zyx": 4x4, "source_case": ...}`.

    Args:
        folder: Takes the place of what bears this name.
        source_case: Case id that goes into the attributes.
        slab_bytes: Most that a slab takes as float32.

    Raises:
        ReadError: If the volume cannot be read.
        OSError: If a file cannot be written; nothing is left of the folder.
    """
    levels = plan_levels(volume.shape, volume.affine_lps)
    form = GroupForm(levels, {"mean": 0}, source_case=source_case)
    with draft_folder(folder) as draft:
        return fill_group(draft, volume, form, progress=progress, slab_bytes=slab_bytes)


def fill_group(
    folder: Path,
    volume: Volume,
    form: GroupForm,
    *,
    progress: Progress | None = None,
    slab_bytes: int = SLAB_BYTES,
) -> np.dtype[Any]:
    """Fill an empty folder with an OME-Zarr group of a volume; as `write_ome_zarr`."""

    def write(dtype: np.dtype[Any]) -> None:
        group = zarr.create_group(folder, zarr_format=3, overwrite=True)
        targets: list[dict[Kind, Target]] = [{} for _ in form.levels]
        depths = slab_depths(form.levels, slab_bytes)
        for kind, number in form.arrays():
            array = _create(group, (kind, number), form, dtype, depths[number])
            targets[number][kind] = _files_of(folder, array, form.codec)
        pour_volume(volume, form.levels, targets, dtype, progress=progress, slab_bytes=slab_bytes)
        group.attrs.put(group_attributes(volume.affine_lps, form))

    return in_exact_type(write)


def array_path(kind: Kind, number: int) -> str:
    """Return where a group holds a level.

    Examples:
        >>> array_path("mean", 1), array_path("max", 1)
        ('1', 'highs/1')
    """
    return f"{PARTS[kind]}{number}"


def chunks_and_shards(
    shape: tuple[int, int, int], deepest: int
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return the voxels of a chunk and of a file along `(z, y, x)`.

    Args:
        deepest: Slices that are written at once.

    Examples:
        >>> chunks_and_shards((400, 512, 512), 64)
        ((64, 64, 64), (64, 256, 256))
        >>> chunks_and_shards((50, 2048, 40), 64)
        ((50, 64, 40), (50, 256, 40))
    """
    side = 64
    while deepest * (2 * side) ** 2 <= CHUNK_VOXELS and side < SHARD_SIDE:
        side *= 2
    depth = min(deepest, shape[0])
    height, width = (min(side, length) for length in shape[1:])
    rows, columns = (
        min(SHARD_SIDE, -(-length // part) * part)
        for length, part in zip(shape[1:], (height, width), strict=True)
    )
    return (depth, height, width), (depth, rows, columns)


def _create(
    group: zarr.Group,
    place: tuple[Kind, int],
    form: GroupForm,
    dtype: np.dtype[Any],
    depth: int,
) -> zarr.Array[Any]:
    shape = form.levels[place[1]].shape
    chunks, shards = chunks_and_shards(shape, depth)
    return group.create_array(
        array_path(*place),
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        compressors=[form.codec, Crc32cCodec()],
        fill_value=0,
        dimension_names=AXES,
    )


def _files_of(folder: Path, array: zarr.Array[Any], codec: BloscCodec) -> Shards:
    """Return what writes the files of an array: every one, so that a missing one is told."""
    depth, height, width = array.chunks
    rows, columns = (array.shards or array.chunks)[1:]
    blosc = numcodecs.Blosc(codec.cname.value, codec.clevel, numcodecs.Blosc.SHUFFLE)
    return Shards(folder / array.path, (depth, height, width), (depth, rows, columns), blosc)


def group_attributes(affine_lps: Affine, form: GroupForm) -> dict[str, Any]:
    """Return the attributes of a group, where its volume lies among them."""
    finest = affine_of_level(affine_lps, form.levels[form.first["mean"]].factors)
    return {
        "ome": {
            "version": OME_VERSION,
            "multiscales": [_multiscale(affine_lps, form, kind) for kind in form.first],
        },
        "medvit": {
            "space": "LPS",
            "affine_lps_zyx": finest.tolist(),
            "source_case": form.source_case,
            "values": "HU",
            "coordinate_transformations": ABOUT_PLACE,
        },
    }


def _multiscale(affine_lps: Affine, form: GroupForm, kind: Kind) -> dict[str, Any]:
    return {
        "axes": [{"name": name, "type": "space", "unit": "millimeter"} for name in AXES],
        "datasets": [
            {
                "path": array_path(kind, number),
                "coordinateTransformations": _transformations(affine_lps, form.levels[number]),
            }
            for number in range(form.first[kind], len(form.levels))
        ],
        "type": kind,
        "metadata": {"description": ABOUT_LEVELS[kind], "method": "medvit.volume.levels.halve"},
    }


def _transformations(affine_lps: Affine, level: Level) -> list[dict[str, Any]]:
    """Return the scale and translation of a level; OME-Zarr 0.5 has no rotation."""
    affine: Affine = affine_of_level(affine_lps, level.factors)
    scale = np.linalg.norm(affine[:3, :3], axis=0)
    along_axes = (affine[:3, :3] / scale).T @ affine[:3, 3]
    return [
        {"type": "scale", "scale": scale.tolist()},
        {"type": "translation", "translation": along_axes.tolist()},
    ]
