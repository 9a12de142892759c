"""How much memory a pyramid takes: while it is made, and where it cannot be kept on disk."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from medvit.geometry import Affine, spacing_of
from medvit.io.writing.cascade import slab_depth
from medvit.io.writing.slabs import SLAB_BYTES, WHOLE
from medvit.volume.levels import Level, Shape, affine_of_level, plan_levels
from medvit.volume.pyramid import level_number

HELD_SPACING_MM = 1.5
"""Where a pyramid cannot be kept on disk, the levels a search at this spacing needs are held."""

SLABS_AT_ONCE = 3.5
BASE_BYTES = 48 * 1024 * 1024
"""Memory of making a pyramid, in slabs of float32 and beside them: the most of int16 and float32
volumes, packed and plain, at slabs of 4 to 64 MiB."""

HELD_KINDS = 2


def predicted_bytes(shape: Shape, slab_bytes: int = SLAB_BYTES) -> int:
    """Return the most memory that making a pyramid takes beside what the process holds.

    Measured; it does not grow with the depth of the volume. Where the pyramid cannot be
    kept on disk, `held_bytes` come on top.

    Args:
        shape: Voxels of the volume along `(z, y, x)`.
        slab_bytes: As for `open_pyramid`; a slab has two slices at least.
    """
    depth = min(shape[0], slab_depth(shape, slab_bytes))
    return BASE_BYTES + int(SLABS_AT_ONCE * depth * shape[1] * shape[2] * 4)


def held_bytes(shape: Shape, affine_lps: Affine) -> int:
    """Return the memory of the levels that are held when a pyramid cannot be kept on disk."""
    levels = plan_levels(shape, affine_lps)
    voxels = sum(prod(level.shape) for level in levels[first_held(levels, affine_lps) :])
    return HELD_KINDS * WHOLE.itemsize * voxels


def first_held(levels: Sequence[Level], affine_lps: Affine) -> int:
    """Return the number of the finest level that is held for a search."""
    spacings_mm = [spacing_of(affine_of_level(affine_lps, level.factors)) for level in levels]
    return max(1, level_number(spacings_mm, HELD_SPACING_MM))
