from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medvit.geometry import index_to_lps, lps_to_index
from medvit.tiles.grid import TileForm
from medvit.tiles.progressive import (
    EFFORTS,
    FAST_SHARE,
    UNSEEN_PER_LITRE,
    PlannedTile,
    TilePlan,
    plan_tiles,
    rank_tiles,
    tiles_for_share,
    with_effort,
)
from medvit.volume.blobs import Blobs, find_blobs
from medvit.volume.lungs import find_lungs
from medvit.volume.region import Region
from medvit.volume.resample import VoxelGrid
from medvit.volume.volume import volume_of
from tests.make.chest import centred_affine, in_ellipsoid, positions_lps_mm

FORM = TileForm(side=16, overlap=4, align=2)
SHAPE = (12, 24, 30)
GRID = VoxelGrid.of(volume_of(np.zeros(SHAPE), centred_affine(SHAPE, (2.5, 1.0, 1.0))), 1.0)


def some_region(seed: int = 0) -> Region:
    coarse = VoxelGrid.of(GRID.volume, 3.0)
    mask = np.random.default_rng(seed).random(coarse.shape) < 0.05
    return Region(mask, coarse.affine_lps)


def some_blobs(seed: int = 0, count: int = 40) -> Blobs:
    rng = np.random.default_rng(seed)
    centres = index_to_lps(GRID.affine_lps, rng.uniform(0, 1, (count, 3)) * GRID.shape)
    return Blobs(centres, np.full(count, 8.0), rng.uniform(0, 1, count) ** 6)


def covered(plan: TilePlan, region: Region) -> np.ndarray:
    seen = np.zeros(GRID.shape, dtype=bool)
    for planned in plan.tiles:
        seen[planned.tile.core] = True
    z, y, x = (slice(0, n) for n in GRID.shape)
    return seen & region.on_grid((z, y, x), on=GRID)


@settings(deadline=None, max_examples=4)
@given(st.integers(0, 99), st.integers(0, 99))
def test_each_effort_covers_what_the_one_before_covers(seed: int, blob_seed: int) -> None:
    region, blobs = some_region(seed), some_blobs(blob_seed)
    fast, balanced, full = (
        covered(plan_tiles(region, GRID, blobs, effort=effort, form=FORM), region)
        for effort in EFFORTS
    )
    assert (balanced | ~fast).all()
    assert (full | ~balanced).all()
    z, y, x = (slice(0, n) for n in GRID.shape)
    assert (full == region.on_grid((z, y, x), on=GRID)).all()


def test_fast_looks_at_the_first_tiles_of_balanced() -> None:
    fast, balanced = (
        plan_tiles(some_region(), GRID, some_blobs(), effort=effort, form=FORM)
        for effort in ("fast", "balanced")
    )
    assert len(fast.tiles) < len(balanced.tiles)
    assert fast.tiles == balanced.tiles[: len(fast.tiles)]
    assert fast.share >= FAST_SHARE > fast.share - fast.tiles[-1].expected
    assert balanced.share >= fast.share


@settings(deadline=None, max_examples=4)
@given(st.permutations(range(40)))
def test_the_order_does_not_depend_on_the_order_of_blobs(order: list[int]) -> None:
    blobs = some_blobs()
    shuffled = Blobs(blobs.centres_lps_mm[order], blobs.diameters_mm[order], blobs.chances[order])
    plans = [
        plan_tiles(some_region(), GRID, each, effort="fast", form=FORM)
        for each in (blobs, shuffled)
    ]
    assert plans[0] == plans[1]


def test_tiles_come_by_expected_nodules_then_by_number() -> None:
    ranked = rank_tiles(some_region(), GRID, some_blobs(), form=FORM)
    for one, other in pairwise(ranked):
        assert (-one.expected, one.tile.number) < (-other.expected, other.tile.number)
    nothing = Blobs(np.empty((0, 3)), np.empty(0), np.empty(0))
    coarse = VoxelGrid.of(GRID.volume, 3.0)
    mask = np.zeros(coarse.shape, dtype=bool)
    mask[1, 2, 2] = mask[8, 2, 2] = True
    even = rank_tiles(Region(mask, coarse.affine_lps), GRID, nothing, form=FORM)
    assert [each.tile.number for each in even] == [0, 1]
    assert len({each.expected for each in even}) == 1


def test_what_a_tile_is_expected_to_hold_by_hand() -> None:
    coarse = VoxelGrid.of(GRID.volume, 3.0)
    mask = np.zeros(coarse.shape, dtype=bool)
    mask[3:5, 3, 3] = True
    region = Region(mask, coarse.affine_lps)
    centres = index_to_lps(coarse.affine_lps, [(3, 3, 3), (4, 3, 3), (9, 3, 3)])
    blobs = Blobs(centres, np.full(3, 8.0), np.array([0.25, 0.5, 1.0]))
    (planned,) = rank_tiles(region, GRID, blobs, form=FORM)  # the last blob lies outside
    assert planned.expected == pytest.approx(0.75 + UNSEEN_PER_LITRE * 2 * 27e-6)


def test_the_first_tile_holds_the_most_obvious_nodule() -> None:
    shape = (44, 36, 52)
    affine = centred_affine(shape, (3.0, 4.0, 4.0))
    points = positions_lps_mm(shape, affine)
    hu = np.full(shape, -1000.0)
    hu[in_ellipsoid(points, (0, 0, 0), (100, 68, 1e4))] = 40.0
    for side in (-44, 44):
        hu[in_ellipsoid(points, (side, 0, 0), (36, 50, 55))] = -850.0
    obvious, faint = (52.0, 10.0, 24.0), (-52.0, -10.0, -24.0)
    hu[in_ellipsoid(points, obvious, (8, 8, 8))] = 40.0
    hu[in_ellipsoid(points, faint, (8, 8, 8))] = -450.0
    chest = volume_of(hu, affine)
    region = find_lungs(chest).region()
    grid = VoxelGrid.of(chest, 1.0)
    plan = plan_tiles(
        region, grid, find_blobs(chest, region), effort="fast", form=TileForm(48, 12, 2)
    )
    index = lps_to_index(grid.affine_lps, [obvious, faint])
    ranks = [
        next(
            rank
            for rank, planned in enumerate(plan.tiles)
            if all(s.start <= at < s.stop for s, at in zip(planned.tile.core, place, strict=True))
        )
        for place in index
    ]
    assert ranks == [0, 1]
    assert plan.tiles[0].expected > 0.9 > plan.tiles[1].expected


def test_no_lungs_no_tiles() -> None:
    coarse = VoxelGrid.of(GRID.volume, 3.0)
    region = Region(np.zeros(coarse.shape, dtype=bool), coarse.affine_lps)
    plan = plan_tiles(region, GRID, some_blobs(), effort="full", form=FORM)
    assert (plan.tiles, plan.left_out, plan.share) == ((), (), 1.0)


def test_full_lets_neighbours_share_half_a_tile() -> None:
    assert with_effort(TileForm(96, 24, 8), "full") == TileForm(96, 48, 8)
    assert with_effort(TileForm(24, 8, 8), "full") == TileForm(24, 16, 8)
    assert with_effort(TileForm(96, 64, 8), "full") == TileForm(96, 64, 8)
    assert with_effort(TileForm(8, 0, 8), "full") == TileForm(8, 0, 8)
    assert with_effort(TileForm(96, 24, 8), "fast") == TileForm(96, 24, 8)


def test_a_share_takes_the_fewest_first_tiles() -> None:
    tile = rank_tiles(some_region(), GRID, some_blobs(), form=FORM)[0].tile
    ranked = [PlannedTile(tile, expected) for expected in (5.0, 3.0, 1.0, 1.0)]
    assert [tiles_for_share(ranked, share) for share in (0.0, 0.5, 0.51, 0.9, 1.0)] == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_an_unknown_effort_is_refused() -> None:
    with pytest.raises(ValueError, match="one of fast, balanced, full, got 'most'"):
        plan_tiles(some_region(), GRID, some_blobs(), effort="most", form=FORM)  # type: ignore[arg-type]
