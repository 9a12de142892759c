from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medvit.models.layers.windows import (
    Kind,
    Run,
    Side,
    cut_axis,
    cut_chunks,
    cut_grid,
    fit_window,
    pad_to_multiple,
    relative_index,
)

CPU = torch.device("cpu")


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


def test_padding_adds_zeros_at_the_far_ends_only() -> None:
    x = torch.ones(1, 5, 4, 3, 2)
    padded = pad_to_multiple(x, 4)
    assert padded.shape == (1, 8, 4, 4, 2)
    assert torch.equal(padded[:, :5, :, :3], x)
    assert padded.sum() == x.sum()


def test_an_axis_of_whole_windows_is_cut_at_both_ends_when_shifted() -> None:
    assert cut_axis(21, window=7, shift=0) == (Run(0, 7, 0, (0, 7, 14)),)
    assert cut_axis(21, window=7, shift=3) == (
        Run(4, 3, 0, (0,)),
        Run(0, 7, 0, (3, 10)),
        Run(0, 4, 0, (17,)),
    )


def test_a_piece_that_lies_in_the_padding_is_left_out() -> None:
    # 24 is padded to 28: the last piece of a shifted axis, 24 to 28, holds no token.
    assert cut_axis(24, window=7, shift=3) == (Run(4, 3, 0, (0,)), Run(0, 7, 0, (3, 10, 17)))
    # 22 is padded to 28: the window from 17 is cut short and the piece after it is empty.
    assert cut_axis(22, window=7, shift=3)[-1] == Run(0, 5, 2, (17,))


def masked_pairs(grid: Side, window: Side, shift: Side) -> torch.Tensor:
    """Return (tokens, tokens): whether one sees the other, by rolling and 27 region ids."""
    padded = [length + -length % side for length, side in zip(grid, window, strict=True)]
    ids, numbers = torch.zeros(padded), torch.full(padded, -1)
    numbers[: grid[0], : grid[1], : grid[2]] = torch.arange(grid[0] * grid[1] * grid[2]).view(grid)
    numbers = numbers.roll([-s for s in shift], dims=(0, 1, 2))
    ranges = [
        [slice(0, -w), slice(-w, -s), slice(-s, None)] if s else [slice(None)]
        for w, s in zip(window, shift, strict=True)
    ]
    for number, (z, y, x) in enumerate(product(*ranges)):
        ids[z, y, x] = number
    seen = torch.zeros(grid[0] * grid[1] * grid[2], grid[0] * grid[1] * grid[2], dtype=torch.bool)
    for corner in product(*(range(0, n, w) for n, w in zip(padded, window, strict=True))):
        place = tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))
        tokens, regions = numbers[place].flatten(), ids[place].flatten()
        tokens, regions = tokens[tokens >= 0], regions[tokens >= 0]
        seen[tokens[:, None], tokens] = regions[:, None] == regions
    return seen


def boxes_of(grid: Side, window: Side, shift: Side) -> tuple[Kind, ...]:
    return cut_grid(grid, window, shift, table_side=max(window), exact=True, device=CPU)


@settings(max_examples=30, deadline=None)
@given(grid=st.tuples(*[st.integers(1, 9)] * 3), side=st.integers(2, 4), is_shifted=st.booleans())
def test_boxes_join_the_pairs_that_masks_let_through(
    grid: Side, side: int, *, is_shifted: bool
) -> None:
    window, shift = fit_window(grid, window=side, shift=side // 2 if is_shifted else 0)
    seen = torch.zeros(grid[0] * grid[1] * grid[2], grid[0] * grid[1] * grid[2], dtype=torch.bool)
    for kind in boxes_of(grid, window, shift):
        for tokens in kind.tokens:
            assert not seen[tokens].any()
            seen[tokens[:, None], tokens] = True
    assert torch.equal(seen, masked_pairs(grid, window, shift))


def test_rows_are_those_of_the_offsets_between_tokens() -> None:
    grid, side = (7, 5, 3), 3
    z, y, x = (n.flatten() for n in torch.meshgrid(*map(torch.arange, grid), indexing="ij"))
    for kind in boxes_of(grid, (3, 3, 3), (1, 1, 0)):
        for tokens in kind.tokens:
            offset = [axis[tokens][:, None] - axis[tokens] + side - 1 for axis in (z, y, x)]
            assert torch.equal(kind.rows, (offset[0] * 5 + offset[1]) * 5 + offset[2])


def test_padded_places_fill_the_window() -> None:
    (kind,) = boxes_of((2, 4, 4), (4, 4, 4), (0, 0, 0))
    assert kind.rows.shape == (32, 32)
    assert kind.padded_rows.shape == (32, 32)
    # The first token sees the first padded place two tokens further in z.
    assert kind.padded_rows[0, 0] == ((-2 + 3) * 7 + 3) * 7 + 3


@pytest.mark.parametrize("most_tokens", [1, 30, 64, 1000])
def test_chunks_hold_every_box_once_and_in_order(most_tokens: int) -> None:
    kinds = boxes_of((9, 7, 6), (3, 3, 3), (1, 1, 1))
    chunks = cut_chunks(kinds, most_tokens=most_tokens)
    rest = [kind.tokens.flatten() for kind in kinds]
    for chunk in chunks:
        first = 0
        for number, count in chunk.parts:
            taken = count * kinds[number].tokens.shape[1]
            assert torch.equal(chunk.tokens[first : first + taken], rest[number][:taken])
            rest[number], first = rest[number][taken:], first + taken
        assert first == len(chunk.tokens)
        assert first <= most_tokens or sum(count for _, count in chunk.parts) == 1
    assert not any(len(tokens) for tokens in rest)
    assert len(chunks) == 1 or most_tokens < 9 * 7 * 6
