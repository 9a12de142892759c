"""Volume files: which format a name means, and the way from there to a volume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from medvit.io.chunk_cache import ChunkCache
from medvit.io.source import Source
from medvit.io.verdict import Triage, readable
from medvit.io.volumes.grid import StoredGrid
from medvit.io.volumes.metaimage import read_metaimage
from medvit.io.volumes.nifti import read_nifti
from medvit.io.volumes.nrrd import read_nrrd
from medvit.io.volumes.ome_zarr import FOLDER_ENDING, ZarrVoxels, is_zarr_folder, read_ome_zarr
from medvit.io.volumes.passing_voxels import PassingVoxels, passes_forward
from medvit.io.volumes.stored_volume import check_hu, volume_over
from medvit.io.volumes.stored_voxels import PlainVoxels, StreamedVoxels, Voxels, voxels_of
from medvit.io.volumes.voxel_file import VoxelFile
from medvit.volume.volume import Volume

FILE_READERS: dict[str, Callable[[Path], tuple[StoredGrid, VoxelFile]]] = {
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
    ".hdr": read_nifti,
    ".mha": read_metaimage,
    ".mhd": read_metaimage,
    ".nrrd": read_nrrd,
    ".nhdr": read_nrrd,
}
"""By the ending of a name: the function that reads a header."""


def is_volume_file(path: Path) -> bool:
    """Return whether a name is that of a volume in one file, or in one folder."""
    name = path.name.lower()
    return name.endswith(FOLDER_ENDING) or any(name.endswith(ending) for ending in FILE_READERS)


def is_volume_folder(path: Path) -> bool:
    """Return whether a folder is one volume, so that a search does not go into it."""
    return is_zarr_folder(path)


def judge_volume_file(path: Path, *, cache: ChunkCache | None = None) -> Triage:
    """Judge a volume file by its header and a few planes.

    Raises:
        ReadError: With the reason, if it cannot be trusted.
    """
    grid, _ = _trusted(path, cache)
    return readable(grid.shape, grid.affine_lps, remarks=grid.header.remarks)


def open_volume_file(path: Path, *, cache: ChunkCache | None = None) -> Volume:
    """Open a volume file for reading box by box.

    Args:
        cache: Where to keep what is unpacked; without it that goes into a temporary file.

    Raises:
        ReadError: With the reason, if it cannot be trusted.
    """
    grid, voxels = _trusted(path, cache)
    is_plain = isinstance(voxels, PlainVoxels | ZarrVoxels)
    return volume_over(grid, voxels, is_plain=is_plain)


def open_volume_source(path: Path, *, cache: ChunkCache | None = None) -> Source:
    """Open a volume file for boxes, and for one pass that unpacks it as it goes.

    Args:
        cache: Where to keep what is unpacked for boxes, as in `open_volume_file`.

    Raises:
        ReadError: With the reason, if it cannot be trusted by its header, or by a few
            planes where they can be had without unpacking.
    """
    if path.name.lower().endswith(FOLDER_ENDING):
        volume = open_volume_file(path)
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return Source(volume, volume, tuple(files))
    grid, file = _header_of(path)
    voxels = voxels_of(grid.header, file, cache)
    volume = volume_over(grid, voxels, is_plain=not file.packing)
    files = [path, file.path]
    if file.packing and passes_forward(grid):
        passing = volume_over(grid, PassingVoxels(grid.header, file))
        return Source(volume, passing, tuple(files))
    check_hu(grid, StreamedVoxels(grid.header, file) if file.packing else voxels)
    return Source(volume, volume, tuple(files))


def _trusted(path: Path, cache: ChunkCache | None) -> tuple[StoredGrid, Voxels]:
    if path.name.lower().endswith(FOLDER_ENDING):
        grid, chunks = read_ome_zarr(path)
        check_hu(grid, chunks)
        return grid, chunks
    grid, file = _header_of(path)
    voxels = voxels_of(grid.header, file, cache)
    # Without a cache nothing is unpacked to disk before a box is asked for.
    look = StreamedVoxels(grid.header, file) if file.packing and cache is None else voxels
    check_hu(grid, look)
    return grid, voxels


def _header_of(path: Path) -> tuple[StoredGrid, VoxelFile]:
    read_header = next(
        read for ending, read in FILE_READERS.items() if path.name.lower().endswith(ending)
    )
    grid, file = read_header(path)
    file.check_holds(grid.header)
    return grid, file
