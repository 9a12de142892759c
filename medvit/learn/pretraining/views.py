"""Views of a patch: a turn to be recognised, and boxes painted over to be filled in.

After Swin UNETR's pretraining (Tang 2022, arXiv 2111.14791), with the share of painted
voxels exact, turns in the axial plane only, and never a patch copied into itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CELL = 4
"""Voxels on a side of the smallest box: two tokens of two voxels, which do not interpolate."""

LARGEST_BOX = 3
"""A box is at most one part in so many of the patch, along each axis."""

Cells = NDArray[np.bool_]  # (z, y, x), one for each cube of CELL voxels
Patch = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PaintShares:
    """Parts of a patch that are painted over; the two never overlap.

    Attributes:
        noise: Replaced by noise.
        copied: Replaced by what lies there in another patch.
    """

    noise: float = 0.3
    copied: float = 0.3

    def __post_init__(self) -> None:
        if min(self.noise, self.copied) < 0 or self.noise + self.copied > 0.9:
            msg = (
                "shares of noise and copies must be 0 or more and at most 0.9 together, "
                f"got {self.noise} and {self.copied}"
            )
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, eq=False)
class ViewDraw:
    """All that is random about a view.

    Attributes:
        turns: Quarter turns in the axial plane, 0 to 3: the label.
        noise: Cells replaced by noise.
        copied: Cells replaced by another patch's.
        partner: Which other patch, as a part of the way through the others, in [0, 1).
        noise_seed: Seeds the noise.
    """

    turns: int
    noise: Cells
    copied: Cells
    partner: float
    noise_seed: int


class SslBatch(NamedTuple):
    """Two views of each of n patches, the first of all, then the second of all.

    Attributes:
        painted: (2n, 1, z, y, x) what the network sees, in 0..1.
        clean: (2n, 1, z, y, x) what it should restore: the turned patch.
        turns: (2n,) quarter turns, int64.
    """

    painted: Tensor
    clean: Tensor
    turns: Tensor


def draw_view(rng: np.random.Generator, side: int, shares: PaintShares) -> ViewDraw:
    """Draw a view of a patch.

    Args:
        side: Voxels on a side of the patch; a multiple of `CELL`.
    """
    grid = side // CELL
    turns = int(rng.integers(4))
    free = np.ones((grid, grid, grid), dtype=bool)
    noise = draw_boxes(rng, free, round(shares.noise * free.size))
    copied = draw_boxes(rng, free & ~noise, round(shares.copied * free.size))
    return ViewDraw(turns, noise, copied, float(rng.random()), int(rng.integers(2**63)))


def draw_boxes(rng: np.random.Generator, free: Cells, count: int) -> Cells:
    """Return exactly `count` of the free cells, as random boxes.

    Of the last box only so many cells are taken, plane by plane, as are still wanted.

    Raises:
        ValueError: If fewer cells are free.
    """
    if count > free.sum():
        msg = f"cannot paint {count} cells: {int(free.sum())} are free"
        raise ValueError(msg)
    drawn = np.zeros_like(free)
    largest = max(1, free.shape[0] // LARGEST_BOX)
    while wanted := count - int(drawn.sum()):
        sides = rng.integers(1, largest + 1, size=3)
        starts = rng.integers(0, np.array(free.shape) - sides + 1)
        box = np.zeros_like(free)
        box[tuple(slice(a, a + n) for a, n in zip(starts, sides, strict=True))] = True
        fresh = np.flatnonzero(box & free & ~drawn)[:wanted]
        drawn.flat[fresh] = True
    return drawn


def turn(patch: Patch, turns: int) -> Patch:
    """Turn a patch (z, y, x) by quarters in its axial plane; -turns undoes it."""
    return np.rot90(patch, turns, axes=(1, 2))


def paint(turned: Patch, other: Patch, draw: ViewDraw) -> Patch:
    """Return a turned patch with noise and parts of another painted into it.

    The noise is normal, rescaled to 0..1.
    """
    out = turned.copy()
    hidden = _voxels(draw.noise)
    drawn = np.random.default_rng(draw.noise_seed).standard_normal(hidden.sum(), dtype=np.float32)
    if drawn.size:
        out[hidden] = (drawn - drawn.min()) / max(float(np.ptp(drawn)), 1e-6)
    copied = _voxels(draw.copied)
    out[copied] = other[copied]
    return out


def partner_of(place: int, draw: ViewDraw, *, count: int) -> int:
    """Return which of `count` patches is copied from: any other, each as likely.

    Examples:
        >>> draw = ViewDraw(0, np.zeros(0, bool), np.zeros(0, bool), 0.99, 0)
        >>> [partner_of(place, draw, count=3) for place in range(3)]
        [2, 0, 1]
    """
    if count < 2:
        msg = f"a view copies from another patch of its batch, got a batch of {count}"
        raise ValueError(msg)
    return (place + 1 + int(draw.partner * (count - 1))) % count


def make_views(patches: Sequence[Patch], draws: Sequence[tuple[ViewDraw, ViewDraw]]) -> SslBatch:
    """Apply the draws of a batch: two views of each patch in 0..1.

    Raises:
        ValueError: If there are fewer than two patches.
    """
    painted: list[Patch] = []
    clean: list[Patch] = []
    turns: list[int] = []
    for view in (0, 1):
        for place, patch in enumerate(patches):
            draw = draws[place][view]
            turned = turn(patch, draw.turns)
            other = patches[partner_of(place, draw, count=len(patches))]
            painted.append(paint(turned, other, draw))
            clean.append(turned)
            turns.append(draw.turns)
    return SslBatch(
        torch.from_numpy(np.stack(painted)[:, None]),
        torch.from_numpy(np.stack(clean)[:, None]),
        torch.tensor(turns),
    )


def _voxels(cells: Cells) -> NDArray[np.bool_]:
    return cells.repeat(CELL, 0).repeat(CELL, 1).repeat(CELL, 2)
