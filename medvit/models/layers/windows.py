"""Windows of a 3D token grid: partition, shift masks and relative offsets.

Letters: w window side, s shift, n tokens in a window, m windows on an axis.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

Side = tuple[int, int, int]

MASKED_SCORE = -100.0


def fit_window(grid: Side, *, window: int, shift: int) -> tuple[Side, Side]:
    """Return window and shift for a grid; a side not longer than the window takes it whole.

    Examples:
        >>> fit_window((12, 6, 4), window=6, shift=3)
        ((6, 6, 4), (3, 0, 0))
    """
    sides = [min(window, length) for length in grid]
    shifts = [0 if length <= window else shift for length in grid]
    return (sides[0], sides[1], sides[2]), (shifts[0], shifts[1], shifts[2])


def pad_to_windows(x: Tensor, window: Side) -> Tensor:
    """Pad (n, z, y, x, c) with zeros at the far ends to a multiple of the window."""
    gaps = [-length % side for length, side in zip(x.shape[1:4], window, strict=True)]
    if not any(gaps):
        return x
    return F.pad(x, (0, 0, 0, gaps[2], 0, gaps[1], 0, gaps[0]))


def partition(x: Tensor, window: Side) -> Tensor:
    """Cut (b, z, y, x, c) into windows (b, m_z*m_y*m_x, n, c), tokens x fastest."""
    b, d, h, w, c = x.shape
    wd, wh, ww = window
    x = x.view(b, d // wd, wd, h // wh, wh, w // ww, ww, c)
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(b, -1, wd * wh * ww, c)


def unpartition(windows: Tensor, window: Side, grid: Side) -> Tensor:
    """Undo `partition` for a padded grid (z, y, x)."""
    b, _, _, c = windows.shape
    (d, h, w), (wd, wh, ww) = grid, window
    x = windows.view(b, d // wd, h // wh, w // ww, wd, wh, ww, c)
    return x.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(b, d, h, w, c)


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


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def mask_classes(grid: Side, window: Side, shift: Side) -> tuple[tuple[Tensor, Tensor | None], ...]:
    """Group the windows of a shifted grid by the mask they need.

    A window is cut on an axis only when it is the last one there, so there are
    at most 2^k distinct masks for k shifted axes, eight in 3D.

    Args:
        grid: Padded grid (z, y, x), a multiple of the window.

    Returns:
        Pairs of (window indices, mask); the mask is (n, n) with 0 where a query
        may see a key and -100 elsewhere, or None when nothing is cut.
    """
    counts = [length // side for length, side in zip(grid, window, strict=True)]
    last = [torch.arange(count) == count - 1 for count in counts]
    choices = [(False, True) if s else (False,) for s in shift]
    groups = []
    for cut in product(*choices):
        wanted = [
            flag == is_cut if s else torch.ones_like(flag)
            for flag, is_cut, s in zip(last, cut, shift, strict=True)
        ]
        chosen = wanted[0][:, None, None] & wanted[1][:, None] & wanted[2]
        index = chosen.flatten().nonzero().flatten()
        if len(index):
            groups.append((index, _cut_mask(window, shift, cut) if any(cut) else None))
    return tuple(groups)


def _cut_mask(window: Side, shift: Side, cut: tuple[bool, ...]) -> Tensor:
    parts = [
        (torch.arange(side) >= side - s) & is_cut
        for side, s, is_cut in zip(window, shift, cut, strict=True)
    ]
    region = (
        parts[0][:, None, None].long() * 4 + parts[1][:, None].long() * 2 + parts[2].long()
    ).flatten()
    return torch.where(region[:, None] == region[None, :], 0.0, MASKED_SCORE)
