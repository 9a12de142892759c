"""The levels of a pyramid: how large each is, where its voxels lie, and how its values are made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medvit.geometry import Affine, spacing_of
from medvit.volume.volume import Hu

TOP_SIDE = 128
"""The coarsest level has no side longer than this."""

NEAR_SPACING = 1.5
"""z is halved with y and x as long as its spacing is at most so many times theirs."""

Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a pyramid.

    Attributes:
        shape: Voxels along `(z, y, x)`.
        factors: How many voxels of the volume a voxel spans along `(z, y, x)`.
        halved: By which of them it is coarser than the level before: 1 or 2 each.
    """

    shape: Shape
    factors: Shape
    halved: Shape


def plan_levels(shape: Shape, affine_lps: Affine) -> list[Level]:
    """Return the levels of a volume, the volume itself first.

    Examples:
        >>> fine, coarse = plan_levels((60, 256, 256), np.eye(4))
        >>> coarse
        Level(shape=(30, 128, 128), factors=(2, 2, 2), halved=(2, 2, 2))
    """
    levels = [Level(shape, (1, 1, 1), (1, 1, 1))]
    spacing = spacing_of(affine_lps)
    while max(levels[-1].shape) > TOP_SIDE:
        levels.append(_coarser(levels[-1], spacing))
    return levels


def affine_of_level(affine_lps: Affine, factors: Shape) -> Affine:
    """Return where the voxels of a level lie; the middle of a block is between its voxels.

    Examples:
        >>> affine_of_level(np.eye(4), (1, 2, 4))[:3, 3].tolist()
        [0.0, 0.5, 1.5]
    """
    to_finest = np.diag([*map(float, factors), 1.0])
    to_finest[:3, 3] = (np.asarray(factors) - 1) / 2
    affine: Affine = affine_lps @ to_finest
    return affine


def halve(hu: Hu, halved: Shape) -> Hu:
    """Return the means of blocks of 1 or 2 voxels along each axis.

    Where an odd side leaves half a block, its voxels count twice, as if mirrored.

    Examples:
        >>> halve(np.array([[[1, 2, 6], [3, 4, 8]]], np.float32), (1, 2, 2)).tolist()
        [[[2.5, 7.0]]]
    """
    for axis, factor in enumerate(halved):
        if factor == 2:
            hu = _halve_along(hu, axis)
    return hu


def _halve_along(hu: Hu, axis: int) -> Hu:
    before = (slice(None),) * axis
    first = hu[(*before, slice(0, None, 2))]
    second = hu[(*before, slice(1, None, 2))]
    pairs = second.shape[axis]
    halves = first.copy()
    paired = halves[(*before, slice(0, pairs))]
    paired += second
    paired *= np.float32(0.5)
    return halves


def _coarser(level: Level, spacing: tuple[float, float, float]) -> Level:
    """Halve y and x, and z too where it is not much coarser, or alone too long."""
    z_mm, y_mm, x_mm = (
        spacing_mm * factor for spacing_mm, factor in zip(spacing, level.factors, strict=True)
    )
    is_near = z_mm <= NEAR_SPACING * min(y_mm, x_mm)
    is_alone = max(level.shape[1:]) <= TOP_SIDE
    wanted = (is_near or is_alone, True, True)
    halved = [2 if want and side > 1 else 1 for want, side in zip(wanted, level.shape, strict=True)]
    shape = [-(-side // by) for side, by in zip(level.shape, halved, strict=True)]
    factors = [factor * by for factor, by in zip(level.factors, halved, strict=True)]
    return Level(_triple(shape), _triple(factors), _triple(halved))


def _triple(values: list[int]) -> Shape:
    z, y, x = values
    return z, y, x
