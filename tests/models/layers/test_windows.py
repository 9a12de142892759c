from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medvit.models.layers.windows import (
    MASKED_SCORE,
    Side,
    fit_window,
    mask_classes,
    pad_to_windows,
    partition,
    relative_index,
    unpartition,
)


def test_a_side_not_longer_than_the_window_takes_it_whole() -> None:
    assert fit_window((12, 6, 4), window=6, shift=3) == ((6, 6, 4), (3, 0, 0))


def test_relative_index_equals_a_loop_over_offsets() -> None:
    places = list(product(range(3), repeat=3))
    index = relative_index((3, 3, 3), table_side=3)
    for i, (zi, yi, xi) in enumerate(places):
        for j, (zj, yj, xj) in enumerate(places):
            expected = (zi - zj + 2) * 25 + (yi - yj + 2) * 5 + (xi - xj + 2)
            assert index[i, j] == expected


def test_index_of_a_pair_and_its_reverse_sum_to_the_last_row() -> None:
    index = relative_index((7, 7, 7), table_side=7)
    assert torch.equal(index + index.T, torch.full_like(index, 2196))


@settings(max_examples=20, deadline=None)
@given(
    windows=st.tuples(*[st.integers(1, 3)] * 3),
    side=st.tuples(*[st.integers(1, 4)] * 3),
)
def test_partition_is_undone(windows: Side, side: Side) -> None:
    d, h, w = (count * length for count, length in zip(windows, side, strict=True))
    x = torch.arange(2 * d * h * w * 3, dtype=torch.float32).view(2, d, h, w, 3)
    assert torch.equal(unpartition(partition(x, side), side, (d, h, w)), x)


def test_padding_adds_zeros_at_the_far_ends_only() -> None:
    x = torch.ones(1, 5, 4, 3, 2)
    padded = pad_to_windows(x, (4, 4, 4))
    assert padded.shape == (1, 8, 4, 4, 2)
    assert torch.equal(padded[:, :5, :, :3], x)
    assert padded.sum() == x.sum()


def dense_masks(grid: Side, window: Side, shift: Side) -> torch.Tensor:
    """Return (m, n, n) masks as the paper builds them, from 27 region ids."""
    ids = torch.zeros(1, *grid, 1)
    ranges = [
        [slice(0, -w), slice(-w, -s), slice(-s, None)] if s else [slice(None)]
        for w, s in zip(window, shift, strict=True)
    ]
    for number, (z, y, x) in enumerate(product(*ranges)):
        ids[:, z, y, x] = number
    regions = partition(ids, window)[0, :, :, 0]  # (m, n)
    return torch.where(regions[:, :, None] == regions[:, None, :], 0.0, MASKED_SCORE)


@pytest.mark.parametrize(
    ("grid", "window", "shift"),
    [
        ((8, 8, 8), (4, 4, 4), (2, 2, 2)),
        ((9, 6, 3), (3, 3, 3), (1, 1, 0)),
        ((12, 6, 6), (6, 6, 6), (3, 0, 0)),
        ((4, 4, 4), (2, 2, 2), (1, 1, 1)),
    ],
)
def test_mask_classes_equal_the_dense_masks(grid: Side, window: Side, shift: Side) -> None:
    dense = dense_masks(grid, window, shift)
    seen = torch.zeros(len(dense), dtype=torch.bool)
    groups = mask_classes(grid, window, shift)
    for where, mask in groups:
        seen[where] = True
        expected = torch.zeros_like(dense[0]) if mask is None else mask
        assert torch.equal(dense[where], expected.expand(len(where), -1, -1))
    assert seen.all()
    assert len(groups) <= 2 ** sum(s > 0 for s in shift)
