"""Which tiles the network sees, and in what order: by how many nodules each should hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medvit.geometry import lps_to_index
from medvit.tiles.grid import Tile, TileForm
from medvit.tiles.layout import lay_tiles
from medvit.volume.blobs import Blobs
from medvit.volume.region import Region
from medvit.volume.resample import VoxelGrid

Effort = Literal["fast", "balanced", "full"]
EFFORTS: tuple[Effort, ...] = ("fast", "balanced", "full")

UNSEEN_PER_LITRE = 0.1
"""Nodules that are no blob, in a litre of region, in the unit of the blobs' chances."""

FAST_SHARE = 0.85
BALANCED_SHARE = 0.995


@dataclass(frozen=True, slots=True)
class PlannedTile:
    """A tile, and how many nodules its core should hold."""

    tile: Tile
    expected: float


@dataclass(frozen=True, slots=True)
class TilePlan:
    """What is looked at, most promising first.

    Attributes:
        tiles: In order of expected nodules, then of number.
        left_out: Tiles of the same layout, in the same order, that the effort does
            without.
    """

    tiles: tuple[PlannedTile, ...]
    left_out: tuple[PlannedTile, ...]

    @property
    def share(self) -> float:
        """Expected nodules in the tiles looked at, as a share of all; 1 when none are."""
        seen, missed = (fsum(p.expected for p in part) for part in (self.tiles, self.left_out))
        return seen / (seen + missed) if seen + missed else 1.0


def plan_tiles(
    region: Region, grid: VoxelGrid, blobs: Blobs, *, effort: Effort, form: TileForm
) -> TilePlan:
    """Choose the tiles of a scan and put them in order.

    `full` takes every tile that touches the region and lets neighbours share half of
    each; `balanced` leaves out the least promising tiles, down to `BALANCED_SHARE` of
    all that is expected; `fast` goes down to `FAST_SHARE`. What `fast` covers
    `balanced` covers, and what that covers `full` covers. The plan depends on nothing
    else, not on the order of the blobs either.

    Args:
        region: Where nodules are looked for.
        grid: What the network sees.
        blobs: Where they should be.
        effort: How much of it to look at.
        form: Size and overlap of the tiles.

    Raises:
        ValueError: If there is no such effort.
    """
    if effort not in EFFORTS:
        msg = f"effort must be one of {', '.join(EFFORTS)}, got {effort!r}"
        raise ValueError(msg)
    ranked = rank_tiles(region, grid, blobs, form=with_effort(form, effort))
    shares = {"fast": FAST_SHARE, "balanced": BALANCED_SHARE, "full": 1.0}
    count = tiles_for_share(ranked, shares[effort])
    return TilePlan(ranked[:count], ranked[count:])


def with_effort(form: TileForm, effort: Effort) -> TileForm:
    """Return the form of the tiles: with `full`, neighbours share at least half of each."""
    if effort != "full":
        return form
    half = -(-form.side // (2 * form.align)) * form.align
    return replace(form, overlap=max(form.overlap, min(half, form.side - form.align)))


def rank_tiles(
    region: Region, grid: VoxelGrid, blobs: Blobs, *, form: TileForm
) -> tuple[PlannedTile, ...]:
    """Return all tiles over a region, those with most expected nodules first.

    A tile is expected to hold the sum of the chances of the blobs in its core, and some
    nodules for the region in its core that no blob shows.
    """
    index = np.rint(lps_to_index(grid.affine_lps, blobs.centres_lps_mm))
    planned = [
        PlannedTile(
            tile,
            fsum(blobs.chances[_in_core(index, tile)])
            + UNSEEN_PER_LITRE * region.litres_within(tile.core, on=grid),
        )
        for tile in lay_tiles(region, grid, form)
    ]
    planned.sort(key=lambda each: (-each.expected, each.tile.number))
    return tuple(planned)


def tiles_for_share(ranked: Sequence[PlannedTile], share: float) -> int:
    """Return how many of the first tiles hold a share of all expected nodules."""
    total = fsum(each.expected for each in ranked)
    for count in range(len(ranked)):
        if fsum(each.expected for each in ranked[:count]) >= share * total:
            return count
    return len(ranked)


def _in_core(index: NDArray[np.float64], tile: Tile) -> NDArray[np.bool_]:
    low = [part.start for part in tile.core]
    high = [part.stop for part in tile.core]
    return np.asarray(((index >= low) & (index < high)).all(axis=1))
