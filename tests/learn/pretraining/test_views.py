"""Views of a patch: labels, targets and painted shares, exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medvit.learn.pretraining.views import (
    CELL,
    PaintShares,
    ViewDraw,
    draw_boxes,
    draw_view,
    make_views,
    paint,
    partner_of,
    turn,
)

SIDE = 16


def patches(count: int, side: int = SIDE) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((side, side, side), dtype=np.float32) for _ in range(count)]


def drawn_pairs(count: int, seed: int = 0) -> list[tuple[ViewDraw, ViewDraw]]:
    rng = np.random.default_rng(seed)
    return [
        (draw_view(rng, SIDE, PaintShares()), draw_view(rng, SIDE, PaintShares()))
        for _ in range(count)
    ]


@given(
    noise=st.floats(0, 0.45), copied=st.floats(0, 0.45), grid=st.integers(3, 9), seed=st.integers(0)
)
def test_the_painted_share_is_exact(noise: float, copied: float, grid: int, seed: int) -> None:
    draw = draw_view(
        np.random.default_rng(seed), grid * CELL, PaintShares(noise=noise, copied=copied)
    )
    assert draw.noise.sum() == round(noise * grid**3)
    assert draw.copied.sum() == round(copied * grid**3)
    assert not (draw.noise & draw.copied).any()


def test_painted_cells_hang_together_as_boxes() -> None:
    drawn = draw_boxes(np.random.default_rng(0), np.ones((12, 12, 12), dtype=bool), 400)
    neighbours = int((drawn[:, :, :-1] & drawn[:, :, 1:]).sum())
    assert (
        neighbours > 0.4 * drawn.sum()
    )  # single cells at random: 0.23 of them have such a neighbour


def test_more_cells_than_are_free_are_refused() -> None:
    free = np.zeros((3, 3, 3), dtype=bool)
    with pytest.raises(ValueError, match="cannot paint 1 cells: 0 are free"):
        draw_boxes(np.random.default_rng(0), free, 1)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (-0.1, 0.2)])
def test_shares_that_leave_nothing_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=f"got {shares[0]} and {shares[1]}"):
        PaintShares(noise=shares[0], copied=shares[1])


def test_the_turn_is_recovered_by_undoing_it() -> None:
    batch = make_views(patches(3), drawn_pairs(3))
    originals = patches(3) * 2
    for clean, turns, original in zip(batch.clean, batch.turns, originals, strict=True):
        undone = [k for k in range(4) if np.array_equal(turn(clean[0].numpy(), -k), original)]
        assert undone == [int(turns)]


def test_turns_leave_the_slices_in_their_order() -> None:
    patch = np.broadcast_to(np.arange(8.0, dtype=np.float32)[:, None, None], (8, 8, 8))
    assert all(np.array_equal(turn(patch, k), patch) for k in range(4))


def test_the_clean_target_is_the_turned_patch_and_unpainted_voxels_show_it() -> None:
    pairs = drawn_pairs(2)
    batch = make_views(patches(2), pairs)
    for row, draw in enumerate([pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1]]):
        expected = np.rot90(patches(2)[row % 2], draw.turns, axes=(1, 2))
        assert np.array_equal(batch.clean[row, 0].numpy(), expected)
        painted = np.kron(draw.noise | draw.copied, np.ones((CELL,) * 3)) > 0
        seen = batch.painted[row, 0].numpy()
        assert np.array_equal(seen[~painted], expected[~painted])
        assert painted.mean() == pytest.approx(0.6, abs=1 / draw.noise.size)
        assert (seen[painted] != expected[painted]).mean() > 0.99


def test_copies_come_from_the_partner_and_noise_fills_its_range() -> None:
    first, other = patches(2)
    draw = drawn_pairs(1)[0][0]
    out = paint(first, other, draw)
    noise, copied = (np.kron(m, np.ones((CELL,) * 3)) > 0 for m in (draw.noise, draw.copied))
    assert np.array_equal(out[copied], other[copied])
    assert (out[noise].min(), out[noise].max()) == (0.0, 1.0)
    assert out[noise].std() < 0.25  # a bell, not uniform
    assert np.array_equal(paint(first, other, draw), out)


@given(count=st.integers(2, 9), place=st.integers(0, 8), partner=st.floats(0, 1, exclude_max=True))
def test_no_patch_is_copied_into_itself(count: int, place: int, partner: float) -> None:
    place %= count
    draw = ViewDraw(0, np.zeros(0, bool), np.zeros(0, bool), partner, 0)
    found = partner_of(place, draw, count=count)
    assert 0 <= found < count
    assert found != place


def test_a_batch_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="got a batch of 1"):
        make_views(patches(1), drawn_pairs(1))


def test_all_turns_are_drawn_alike() -> None:
    rng = np.random.default_rng(1)
    turns = [draw_view(rng, SIDE, PaintShares(noise=0, copied=0)).turns for _ in range(400)]
    assert np.bincount(turns, minlength=4).min() > 70


def test_the_shapes_and_types_are_those_of_a_batch() -> None:
    batch = make_views(patches(3), drawn_pairs(3))
    assert batch.painted.shape == batch.clean.shape == (6, 1, SIDE, SIDE, SIDE)
    assert (batch.painted.dtype, batch.turns.dtype) == (torch.float32, torch.int64)
