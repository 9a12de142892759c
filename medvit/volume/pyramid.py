"""A volume at several resolutions: means for a search, least and largest values for display."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from medvit.geometry import Triple
from medvit.volume.levels import Kind, Level, affine_of_level, halve, plan_levels
from medvit.volume.volume import Hu, Volume

SPACING_TOLERANCE = 1e-6
"""Relative; a spacing is a product of roundings."""

MOST_SPANNED_BYTES = 32 * 1024 * 1024
"""How much of a volume is read at once for a box of a level that is made of it on reading."""


@dataclass(frozen=True, slots=True, eq=False)
class Pyramid:
    """A volume and what halving makes of it, level by level.

    Attributes:
        levels: Finest first; level 0 holds the voxels of the volume itself, each other
            one the means of 2 voxels along each axis that was halved.
        lows: As `levels` from 1 on, of the least values.
        highs: As `lows`, of the largest values.
    """

    levels: tuple[Volume, ...]
    lows: tuple[Volume, ...]
    highs: tuple[Volume, ...]

    def __post_init__(self) -> None:
        for aside in (self.lows, self.highs):
            shapes = [volume.shape for volume in aside]
            if shapes != [volume.shape for volume in self.levels[1:]]:
                msg = f"levels from 1 on have shapes {shapes} beside those of the means"
                raise ValueError(msg)

    def number_for(self, spacing_mm: float) -> int:
        """Return the number of the coarsest level that is fine enough, 0 when only that is.

        Fine enough is one whose axes are no coarser than asked, or than they are in the
        volume: slices 5 mm apart do not keep the pixels in them fine.

        Raises:
            ValueError: If the spacing is not positive.
        """
        return level_number([level.spacing_mm for level in self.levels], spacing_mm)

    def level_for(self, spacing_mm: float) -> Volume:
        """Return the level with the number of `number_for`."""
        return self.levels[self.number_for(spacing_mm)]


def level_number(spacings_mm: Sequence[Triple], spacing_mm: float) -> int:
    """Return what `Pyramid.number_for` does, by the spacings of the levels.

    Raises:
        ValueError: If the spacing is not positive.
    """
    if not spacing_mm > 0:
        msg = f"the spacing of a level must be positive, got {spacing_mm} mm"
        raise ValueError(msg)
    most_mm = np.maximum(spacings_mm[0], spacing_mm) * (1 + SPACING_TOLERANCE)
    return max(n for n, each_mm in enumerate(spacings_mm) if np.all(each_mm <= most_mm))


def derived_levels(
    volume: Volume, kind: Kind = "mean", *, is_rounded: bool = False
) -> tuple[Volume, ...]:
    """Return levels that are made of the volume box by box, when they are read.

    Level 0 is the volume itself. A box of another one costs the box of the volume that
    it spans; its values are those that a pass over the whole volume gives.

    Args:
        is_rounded: Whether means are rounded to whole HU.
    """
    levels = plan_levels(volume.shape, volume.affine_lps)
    coarser = (_Derived(volume, levels[: n + 1], kind, is_rounded) for n in range(1, len(levels)))
    return volume, *(each.volume() for each in coarser)


@dataclass(frozen=True, slots=True, eq=False)
class _Derived:
    """One level that is made of the volume when it is read.

    Attributes:
        levels: From the volume itself to this one.
    """

    source: Volume
    levels: Sequence[Level]
    kind: Kind
    is_rounded: bool

    def volume(self) -> Volume:
        level = self.levels[-1]
        affine = affine_of_level(self.source.affine_lps, level.factors)
        return Volume(level.shape, affine, self.read_block, is_plain=self.source.is_plain)

    def read_block(self, z: slice, y: slice, x: slice) -> Hu:
        out = np.empty([part.stop - part.start for part in (z, y, x)], np.float32)
        if out.size == 0:
            return out
        spanned = 4 * out[0].size * prod(self.levels[-1].factors)
        depth = max(1, MOST_SPANNED_BYTES // spanned)
        for start in range(z.start, z.stop, depth):
            part = slice(start, min(start + depth, z.stop))
            out[start - z.start : part.stop - z.start] = self._read_at_once(part, y, x)
        return out

    def _read_at_once(self, *box: slice) -> Hu:
        z, y, x = (
            slice(part.start * factor, part.stop * factor)
            for part, factor in zip(box, self.levels[-1].factors, strict=True)
        )
        hu = self.source.read(z, y, x)
        for level in self.levels[1:]:
            hu = halve(hu, level.halved, self.kind)
        return np.rint(hu, out=hu) if self.is_rounded else hu
