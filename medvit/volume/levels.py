"""The levels of a pyramid: how large each is, where its voxels lie, and how its values are made."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medvit.geometry import Affine, spacing_of

TOP_SIDE = 128
"""The coarsest level has no side longer than this."""

NEAR_SPACING = 1.5
"""z is halved with y and x as long as its spacing is at most so many times theirs."""

Shape = tuple[int, int, int]
Slab = npt.NDArray[Any]

Kind = Literal["mean", "min", "max"]
"""What a voxel of a coarser level says of those it spans."""

_PAIRED: dict[Kind, np.ufunc] = {"mean": np.add, "min": np.minimum, "max": np.maximum}


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


def halve(slab: Slab, halved: Shape, kind: Kind = "mean") -> Slab:
    """Return the mean, least or largest value of blocks of 1 or 2 voxels along each axis.

    Where an odd side leaves half a block, its voxels count twice, as if mirrored. Of
    floats a mean is a sum that is scaled once, so it does not depend on the slab.

    Args:
        slab: `(z, y, x)`; floats when means are asked for.

    Examples:
        >>> halve(np.array([[[1, 2, 6], [3, 4, 8]]], np.float32), (1, 2, 2)).tolist()
        [[[2.5, 7.0]]]
        >>> halve(np.array([[[1, 2, 6], [3, 4, 8]]]), (1, 2, 2), "max").tolist()
        [[[4, 8]]]
    """
    pair = _PAIRED[kind]
    by_z, by_y, by_x = halved
    out = np.empty(
        [-(-side // by) for side, by in zip(slab.shape, halved, strict=True)], slab.dtype
    )
    # Plane by plane, so that what is halved thrice stays in the cache of the processor.
    for row in range(len(out)):
        plane = slab[by_z * row]
        if by_z == 2:
            plane = pair(plane, slab[min(2 * row + 1, len(slab) - 1)])
        if by_y == 2:
            plane = _pair_rows(plane, pair)
        out[row] = _pair_rows(plane.T, pair).T if by_x == 2 else plane
    if kind == "mean":
        out *= out.dtype.type(1 / prod(halved))
    return out


def _pair_rows(plane: Slab, pair: np.ufunc) -> Slab:
    first, second = plane[0::2], plane[1::2]
    out = np.empty_like(first)
    if len(first) == len(second):
        pair(first, second, out=out)
        return out
    pair(first[:-1], second, out=out[:-1])
    pair(first[-1], first[-1], out=out[-1])
    return out


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
