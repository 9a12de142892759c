"""A CT on disk, opened in the two ways in which it is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medvit.volume.volume import Volume


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A volume for boxes in any order, and for one pass from the first slice to the last.

    Attributes:
        volume: For boxes. Whether the voxels of a packed volume file are HU was not looked at.
        passing: For one pass, which looks at that too; keeps next to nothing, and needs no
            room on the disk when slices lie in their file in order.
        files: What the volume is made of, in an order of their own.
    """

    volume: Volume
    passing: Volume
    files: tuple[Path, ...]
