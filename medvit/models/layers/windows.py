"""How shifted windows cut a 3D token grid into boxes that attend by themselves.

A shifted window at the border of the grid is a box from each end of an axis, and a
mask keeps the two apart. So there is nothing to roll and nothing to mask: shifted by
s, an axis of length L is cut into s, w, w, ..., and what is left of the last window.

Letters: w window side, s shift, n tokens in a box, m boxes, p padded places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, product

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

Side = tuple[int, int, int]


def fit_window(grid: Side, *, window: int, shift: int) -> tuple[Side, Side]:
    """Return window and shift for a grid; a side not longer than the window takes it whole.

    Examples:
        >>> fit_window((12, 6, 4), window=6, shift=3)
        ((6, 6, 4), (3, 0, 0))
    """
    sides = [min(window, length) for length in grid]
    shifts = [0 if length <= window else shift for length in grid]
    return (sides[0], sides[1], sides[2]), (shifts[0], shifts[1], shifts[2])


def pad_to_multiple(x: Tensor, step: int) -> Tensor:
    """Pad (n, z, y, x, c) with zeros at the far ends to a multiple of `step`."""
    gaps = [-length % step for length in x.shape[1:4]]
    if not any(gaps):
        return x
    return F.pad(x, (0, 0, 0, gaps[2], 0, gaps[1], 0, gaps[0]))


@dataclass(frozen=True, slots=True)
class Run:
    """Equal pieces of an axis, one after another.

    Attributes:
        place: Where in the window a piece begins.
        side: Tokens of a piece.
        padded: Places of the window after them that lie beyond the grid.
        starts: Where on the axis each piece begins.
    """

    place: int
    side: int
    padded: int
    starts: tuple[int, ...]


def cut_axis(length: int, *, window: int, shift: int) -> tuple[Run, ...]:
    """Return the pieces into which shifted windows cut an axis.

    Examples:
        >>> [(run.side, run.padded, run.starts) for run in cut_axis(12, window=5, shift=2)]
        [(2, 0, (0,)), (5, 0, (2, 7))]
        >>> [(run.side, run.padded, run.starts) for run in cut_axis(12, window=5, shift=0)]
        [(5, 0, (0, 5)), (2, 3, (10,))]
    """
    end = length + -length % window
    pieces = [(window - shift, shift, 0, 0)] if shift else []
    for start in range(shift, length, window):
        side = min(start + window, length) - start
        pieces.append((0, side, min(start + window, end) - start - side, start))
    return tuple(
        Run(place, side, padded, tuple(piece[3] for piece in run))
        for (place, side, padded), run in groupby(pieces, key=lambda piece: piece[:3])
    )


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """The boxes of one shape.

    Attributes:
        tokens: Numbers of their tokens in the grid, (m, n).
        rows: Rows of the bias table for query and key, (n, n).
        padded_rows: The same for query and padded place, (n, p).
    """

    tokens: Tensor
    rows: Tensor
    padded_rows: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Boxes that are worked on together.

    Attributes:
        tokens: Numbers of their tokens in the grid, box after box.
        parts: Pairs (number of a kind, how many boxes of it), in that order.
    """

    tokens: Tensor
    parts: tuple[tuple[int, int], ...]


# What is cached in inference mode could not be used in training later.
@lru_cache(maxsize=32)
@torch.inference_mode(False)
def relative_index(window: Side, *, table_side: int) -> Tensor:
    """Return (n, n) rows of a ((2*table_side-1)^3, heads) bias table for query i and key j."""
    axes = [torch.arange(side) for side in window]
    place = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)  # (3, n)
    offset = place[:, :, None] - place[:, None, :] + table_side - 1  # (3, n, n)
    span = 2 * table_side - 1
    return (offset[0] * span + offset[1]) * span + offset[2]


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def cut_grid(
    grid: Side, window: Side, shift: Side, *, table_side: int, exact: bool, device: torch.device
) -> tuple[Kind, ...]:
    """Return the boxes of a grid (z, y, x), by kind; each token is in one box.

    Args:
        table_side: Side of the window that the bias table is made for.
        exact: Read the bias of the true offset also if the window is smaller than that;
            otherwise the corner of the full window's index.
    """
    index = relative_index(window if exact else (table_side,) * 3, table_side=table_side)
    axes = [
        cut_axis(length, window=side, shift=s)
        for length, side, s in zip(grid, window, shift, strict=True)
    ]
    kinds = []
    for runs in product(*axes):
        starts = _numbers([torch.tensor(run.starts) for run in runs], grid).flatten()
        inside = _numbers([torch.arange(run.side) for run in runs], grid).flatten()
        whole = _numbers(
            [torch.arange(run.place, run.place + run.side + run.padded) for run in runs], window
        )
        real = whole[: runs[0].side, : runs[1].side, : runs[2].side].flatten()
        padded = whole.flatten()[~torch.isin(whole.flatten(), real)]
        kinds.append(
            Kind(
                tokens=(starts[:, None] + inside).to(device),
                rows=index[real][:, real].to(device),
                padded_rows=index[real][:, padded].to(device),
            )
        )
    return tuple(kinds)


def _numbers(axes: Sequence[Tensor], grid: Side) -> Tensor:
    """Return the numbers of the tokens at all combinations of z, y and x."""
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return (z * grid[1] + y) * grid[2] + x


def cut_chunks(kinds: Sequence[Kind], *, most_tokens: int) -> tuple[Chunk, ...]:
    """Return all boxes in chunks of at most so many tokens, or of one box."""
    chunks: list[Chunk] = []
    tokens: list[Tensor] = []
    parts: list[tuple[int, int]] = []
    room = most_tokens
    for number, kind in enumerate(kinds):
        count, side = kind.tokens.shape
        first = 0
        while first < count:
            if side > room and tokens:
                chunks.append(Chunk(torch.cat(tokens), tuple(parts)))
                tokens, parts, room = [], [], most_tokens
            taken = min(count - first, max(1, room // side))
            tokens.append(kind.tokens[first : first + taken].flatten())
            parts.append((number, taken))
            first, room = first + taken, room - taken * side
    chunks.append(Chunk(torch.cat(tokens), tuple(parts)))
    return tuple(chunks)
