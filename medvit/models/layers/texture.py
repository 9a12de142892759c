"""Texture of an image as numbers: local binary patterns, grey levels and slopes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

RADII: tuple[tuple[int, int], ...] = ((8, 1), (8, 2), (16, 3))
"""Points on a circle, and its radius in pixels."""

BINS = 16
LEVELS = 256
STEEPEST = 64
"""Slopes in grey levels a pixel; what is steeper is in no bin."""

DECIMALS = 5
"""Of the places on a circle, as scikit-image rounds them."""

WIDTH = sum(points + 2 for points, _ in RADII) + 2 * BINS


class Texture(nn.Module):
    """Square roots of histograms of an image's grey levels, without a parameter.

    Uniform local binary patterns (Ojala 2002) on three circles, then 16 bins of grey levels
    and 16 of slopes; of the roots of shares, rare patterns tell as much as common ones. The
    patterns equal scikit-image's `local_binary_pattern(..., method="uniform")` to the last
    code, ties included: hence double precision and its order of operations.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, 70) of images (n, c, h, w) in 0..1; colour counts by its mean."""
        grey = (x.detach().double().mean(dim=1) * (LEVELS - 1)).round()  # (n, h, w)
        shares = [_patterns(grey, points=points, radius=radius) for points, radius in RADII]
        shares += [_histogram(grey, top=LEVELS), _histogram(_slopes(grey), top=STEEPEST)]
        return torch.cat(shares, dim=1).sqrt().to(x.dtype)


def _patterns(grey: Tensor, *, points: int, radius: int) -> Tensor:
    """Return the shares (n, points + 2) of uniform patterns.

    A pattern is how many points of the circle are at least as bright as its centre, if they
    lie together; all others are the last one. Beyond the border it is black.
    """
    signs = torch.stack(
        [_on_circle(grey, math.tau * k / points, radius) >= grey for k in range(points)]
    )
    changes = (signs[1:] != signs[:-1]).sum(dim=0)
    codes = torch.where(changes <= 2, signs.sum(dim=0), points + 1)  # (n, h, w)
    return _shares(codes, count=points + 2)


def _on_circle(grey: Tensor, angle: float, radius: int) -> Tensor:
    """Return the grey level (n, h, w) beside each pixel, between four pixels where need be."""
    offset = (-radius * math.sin(angle), radius * math.cos(angle))
    dy, dx = (round(value, DECIMALS) for value in offset)
    height, width = grey.shape[1:]
    part_y = _part(height, dy, like=grey)[:, None]
    part_x = _part(width, dx, like=grey)
    padded = F.pad(grey, (radius,) * 4)

    def shifted(rows: int, columns: int) -> Tensor:
        top, left = radius + rows, radius + columns
        return padded[:, top : top + height, left : left + width]

    low_y, low_x, high_y, high_x = math.floor(dy), math.floor(dx), math.ceil(dy), math.ceil(dx)
    upper = (1 - part_x) * shifted(low_y, low_x) + part_x * shifted(low_y, high_x)
    lower = (1 - part_x) * shifted(high_y, low_x) + part_x * shifted(high_y, high_x)
    return (1 - part_y) * upper + part_y * lower


def _part(length: int, offset: float, *, like: Tensor) -> Tensor:
    """Return the part of a pixel after the last whole one at each place, (length,).

    The offset is a tensor: ONNX holds a bare number in single precision, which breaks ties.
    """
    places = torch.arange(length, dtype=like.dtype, device=like.device) + like.new_tensor(offset)
    return places - places.floor()


def _slopes(grey: Tensor) -> Tensor:
    """Return the steepness (n, h, w): half the difference of neighbours, whole at borders."""
    down, right = (_differences(grey, axis) for axis in (1, 2))
    return (down**2 + right**2).sqrt()


def _differences(grey: Tensor, axis: int) -> Tensor:
    length = grey.shape[axis]
    inner = (grey.narrow(axis, 2, length - 2) - grey.narrow(axis, 0, length - 2)) / 2
    first = grey.narrow(axis, 1, 1) - grey.narrow(axis, 0, 1)
    last = grey.narrow(axis, length - 1, 1) - grey.narrow(axis, length - 2, 1)
    return torch.cat([first, inner, last], dim=axis)


def _histogram(values: Tensor, *, top: int) -> Tensor:
    """Return the shares (n, 16) of values in bins from 0 to `top`, which the last one holds."""
    codes = (values * (BINS / top)).floor()
    return _shares(torch.where(values == top, BINS - 1, codes), count=BINS)


def _shares(codes: Tensor, *, count: int) -> Tensor:
    flat = codes.flatten(1)
    found = [(flat == code).double().mean(dim=1) for code in range(count)]
    return torch.stack(found, dim=1)
