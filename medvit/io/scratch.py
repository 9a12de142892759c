"""Where reading keeps what it had to decode or unpack, so that it is done once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from medvit.io.archives import Archives
from medvit.io.chunk_cache import ChunkCache
from medvit.io.pyramid_store import PyramidStore


@dataclass(frozen=True, slots=True)
class Scratch:
    """Places for things that can be made again at any time.

    Attributes:
        chunks: Decoded parts of volumes; None: kept only as long as the volume.
        archives: Unpacked archives.
        pyramids: Volumes at several resolutions; None: kept only as long as they are used.
    """

    chunks: ChunkCache | None = None
    archives: Archives = field(default_factory=Archives)
    pyramids: PyramidStore | None = None

    @classmethod
    def below(cls, folder: Path) -> Self:
        """Return scratch that outlives the process, in the cache folder of a workspace."""
        return cls(
            ChunkCache(folder / "chunks"),
            Archives(folder / "archives"),
            PyramidStore(folder / "pyramids"),
        )


UNTIL_EXIT = Scratch()
"""Keeps nothing beyond the end of the process: for callers without a workspace."""
