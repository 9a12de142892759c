"""The formats a volume can be written to, by the ending of a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from medvit.io.writing.metaimage import raw_path_of, write_metaimage
from medvit.io.writing.nifti import write_nifti
from medvit.io.writing.ome_zarr import write_ome_zarr
from medvit.io.writing.slabs import Progress
from medvit.volume.volume import Volume


class Writer(Protocol):
    """Writes a volume whole or not at all, and returns the type of its voxels."""

    def __call__(
        self, volume: Volume, path: Path, /, *, progress: Progress | None = None
    ) -> np.dtype[Any]:
        """Write."""
        ...


WRITERS: dict[str, Writer] = {
    ".nii": write_nifti,
    ".nii.gz": write_nifti,
    ".mha": write_metaimage,
    ".mhd": write_metaimage,
    ".ome.zarr": write_ome_zarr,
}


def ending_of(path: Path) -> str | None:
    """Return the ending that decides the format of a name, None for one that means none.

    Examples:
        >>> ending_of(Path("out/CT.NII.GZ")), ending_of(Path("out/scan.dcm"))
        ('.nii.gz', None)
    """
    name = path.name.lower()
    return next((end for end in WRITERS if name.endswith(end) and name != end), None)


def files_of(path: Path) -> tuple[Path, ...]:
    """Return what a volume is written to under a name: one file or folder, or `.mhd` and `.raw`."""
    return (path, raw_path_of(path)) if path.suffix.lower() == ".mhd" else (path,)
