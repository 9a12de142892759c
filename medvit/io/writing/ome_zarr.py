"""Writing OME-Zarr 0.5: a pyramid in sharded zarr v3, made in one pass over the volume."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from medvit.geometry import Affine
from medvit.io.writing.drafts import draft_folder
from medvit.io.writing.levels import Level, affine_of_level, halve, plan_levels
from medvit.io.writing.slabs import FRACTIONAL, SLAB_BYTES, Progress, Slab, write_exactly
from medvit.volume.volume import Volume

OME_VERSION = "0.5"
AXES = ("z", "y", "x")

CHUNK_VOXELS = 64**3
DEEPEST_CHUNK = 64
SHARD_SIDE = 256
"""Voxels along y and x of one file; along z a file is one chunk deep, so it is written once."""

ABOUT_LEVELS = "mean over 2 voxels along each axis that is halved; int16 values are rounded"
ABOUT_PLACE = (
    "scale and translation are mm along the axes of the volume: LPS coordinates when the axes "
    "are those of the patient, LPS turned to them when they are not"
)


@dataclass(slots=True)
class _LevelArray:
    """An array that is filled along z, with what waits for its next slab.

    Attributes:
        depth: Slices of a slab: those of a chunk.
        waiting: Parts of the next slab, float32.
    """

    array: zarr.Array[Any]
    level: Level
    depth: int
    start: int = 0
    waiting: list[Slab] = field(default_factory=list)


def write_ome_zarr(
    volume: Volume,
    folder: Path,
    *,
    progress: Progress | None = None,
    source_case: str = "",
) -> np.dtype[Any]:
    """Write a volume as an OME-Zarr pyramid and return the type of its voxels.

    y and x are halved, and z once its spacing is near theirs, until no side is longer than
    128. Chunks of about 64x64x64 voxels lie in files of up to 256x256 of them across, packed
    by Blosc (Zstandard) and guarded by CRC-32C. The group's attribute `medvit` holds the
    place of the finest level: `{"space": "LPS", "affine_lps_zyx": 4x4, "source_case": ...}`.

    Args:
        folder: Takes the place of what bears this name.
        source_case: Case id that goes into the attributes.

    Raises:
        ReadError: If the volume cannot be read.
        OSError: If a file cannot be written; nothing is left of the folder.
    """
    levels = plan_levels(volume.shape, volume.affine_lps)
    with draft_folder(folder) as draft:

        def write(dtype: np.dtype[Any], slabs: Iterator[Slab]) -> None:
            group = zarr.create_group(draft, zarr_format=3, overwrite=True)
            arrays = [_create(group, number, level, dtype) for number, level in enumerate(levels)]
            _fill(arrays, slabs)
            group.attrs.put(_attributes(volume, levels, source_case))

        depth = slab_depth(volume.shape)
        return write_exactly(volume, write, depth=depth, progress=progress)


def slab_depth(shape: tuple[int, int, int]) -> int:
    """Return how many slices of a level are written at once: a power of two, at least 2.

    Examples:
        >>> slab_depth((400, 512, 512)), slab_depth((400, 2048, 2048))
        (64, 4)
    """
    depth = DEEPEST_CHUNK
    while depth > 2 and depth * shape[1] * shape[2] * 4 > SLAB_BYTES:
        depth //= 2
    return depth


def chunks_and_shards(
    shape: tuple[int, int, int],
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return the voxels of a chunk and of a file along `(z, y, x)`.

    Examples:
        >>> chunks_and_shards((400, 512, 512))
        ((64, 64, 64), (64, 256, 256))
        >>> chunks_and_shards((50, 2048, 40))
        ((50, 64, 40), (50, 256, 40))
    """
    deepest = slab_depth(shape)
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


def _create(group: zarr.Group, number: int, level: Level, dtype: np.dtype[Any]) -> _LevelArray:
    chunks, shards = chunks_and_shards(level.shape)
    array = group.create_array(
        str(number),
        shape=level.shape,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        compressors=[BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"), Crc32cCodec()],
        fill_value=0,
        dimension_names=AXES,
        # Every file is there, so that one that is missing can be told from one full of zeros.
        config={"write_empty_chunks": True},
    )
    return _LevelArray(array, level, slab_depth(level.shape))


def _fill(arrays: list[_LevelArray], slabs: Iterable[Slab]) -> None:
    """Write the finest level slab by slab, and from each slab what it adds to the coarser ones."""
    # Zarr writes in threads of its own. An interruption waits here for the slab at hand, or
    # they would go on to write into a folder that is being removed.
    with ThreadPoolExecutor(1) as writer:

        def store(part: _LevelArray, slab: Slab) -> None:
            stop = part.start + len(slab)
            writer.submit(part.array.__setitem__, slice(part.start, stop), slab).result()
            part.start = stop

        for slab in slabs:
            store(arrays[0], slab)
            _add(arrays[1:], slab.astype(np.float32), store)


def _add(coarser: list[_LevelArray], hu: Slab, store: Callable[[_LevelArray, Slab], None]) -> None:
    """Add what a slab of one level means for the levels above it; each is rounded once."""
    if not coarser:
        return
    here = coarser[0]
    here.waiting.append(halve(hu, here.level.halved))
    held = sum(len(part) for part in here.waiting)
    if held < here.depth and here.start + held < here.level.shape[0]:
        return
    full = np.concatenate(here.waiting)
    here.waiting.clear()
    is_float = here.array.dtype == FRACTIONAL
    store(here, full if is_float else np.rint(full).astype(here.array.dtype))
    _add(coarser[1:], full, store)


def _attributes(volume: Volume, levels: list[Level], source_case: str) -> dict[str, Any]:
    multiscale = {
        "axes": [{"name": name, "type": "space", "unit": "millimeter"} for name in AXES],
        "datasets": [
            {"path": str(number), "coordinateTransformations": _transformations(volume, level)}
            for number, level in enumerate(levels)
        ],
        "type": "mean",
        "metadata": {"description": ABOUT_LEVELS, "method": "medvit.io.writing.levels.halve"},
    }
    return {
        "ome": {"version": OME_VERSION, "multiscales": [multiscale]},
        "medvit": {
            "space": "LPS",
            "affine_lps_zyx": volume.affine_lps.tolist(),
            "source_case": source_case,
            "values": "HU",
            "coordinate_transformations": ABOUT_PLACE,
        },
    }


def _transformations(volume: Volume, level: Level) -> list[dict[str, Any]]:
    """Return the scale and translation of a level; OME-Zarr 0.5 has no rotation."""
    affine: Affine = affine_of_level(volume.affine_lps, level.factors)
    scale = np.linalg.norm(affine[:3, :3], axis=0)
    along_axes = (affine[:3, :3] / scale).T @ affine[:3, 3]
    return [
        {"type": "scale", "scale": scale.tolist()},
        {"type": "translation", "translation": along_axes.tolist()},
    ]
