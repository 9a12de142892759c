"""Masks at one bit a voxel, read box by box from memory or from a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medvit.volume.morphology import Mask


@dataclass(frozen=True, slots=True, eq=False)
class PackedMask:
    """A mask that takes an eighth of the memory, and reads false beyond its ends.

    Attributes:
        bits: (z, y, ceil(x / 8)), uint8, the first voxel of eight in the highest bit.
        shape: Voxels (z, y, x).
    """

    bits: NDArray[np.uint8]
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, mask: Mask) -> PackedMask:
        """Pack a mask (z, y, x)."""
        depth, height, width = mask.shape
        return cls(np.packbits(mask, axis=2), (depth, height, width))

    def read(self, z: slice, y: slice, x: slice) -> Mask:
        """Return a box given by starts and stops; a negative start lies before the mask."""
        asked = (z, y, x)
        box = np.zeros([s.stop - s.start for s in asked], dtype=bool)
        inside = [
            slice(max(s.start, 0), min(s.stop, n)) for s, n in zip(asked, self.shape, strict=True)
        ]
        if any(s.stop <= s.start for s in inside):
            return box
        first = inside[2].start // 8
        bits = self.bits[inside[0], inside[1], first : (inside[2].stop + 7) // 8]
        voxels = np.unpackbits(bits, axis=2)[..., inside[2].start - first * 8 :]
        place = tuple(
            slice(i.start - a.start, i.stop - a.start) for i, a in zip(inside, asked, strict=True)
        )
        box[place] = voxels[..., : inside[2].stop - inside[2].start]
        return box

    def at(self, z: int, y: int, x: int) -> bool:
        """Return one voxel that lies inside the mask."""
        return bool(self.bits[z, y, x // 8] >> (7 - x % 8) & 1)

    def all(self) -> Mask:
        """Return the whole mask, a byte a voxel."""
        depth, height, width = self.shape
        return self.read(slice(0, depth), slice(0, height), slice(0, width))


@dataclass(frozen=True, slots=True, eq=False)
class KeptMask:
    """A packed mask that stays on the disk: a thousand of them take no memory.

    Attributes:
        path: An .npy file of `PackedMask.bits`.
        shape: Voxels (z, y, x).
    """

    path: Path
    shape: tuple[int, int, int]

    def read(self, z: slice, y: slice, x: slice) -> Mask:
        """Return a box as `PackedMask.read` does."""
        return self._packed().read(z, y, x)

    def at(self, z: int, y: int, x: int) -> bool:
        """Return one voxel that lies inside the mask."""
        return self._packed().at(z, y, x)

    def all(self) -> Mask:
        """Return the whole mask, a byte a voxel."""
        return self._packed().all()

    def _packed(self) -> PackedMask:
        return PackedMask(np.load(self.path, mmap_mode="r"), self.shape)
