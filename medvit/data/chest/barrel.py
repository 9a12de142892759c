"""The inner chest wall: a barrel with two rounded tops, wide at the back, narrow in front."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medvit.data.chest.body import Body
from medvit.data.chest.fields import Floats, ramp

Axes = tuple[Floats, Floats, Floats]


def cavity_distance(axes: Axes, body: Body) -> Floats:
    """Return the approximate distance to the inner chest wall, negative inside."""
    z, y, x = axes
    closing_mm = body.apex_mm - 0.62 * (body.apex_mm + 40)
    up = np.maximum(z - closing_mm, 0) / np.float32(body.apex_mm - closing_mm)
    back = (y - np.float32(0.16 * body.half_depth_mm) * up * up) / np.float32(body.half_depth_mm)
    # Beside the spine the lungs reach further back than behind it.
    gutter = np.exp(-(((np.abs(x) / body.half_width_mm - 0.5) / 0.27) ** 2))
    back = np.where(back > 0, back / (0.95 + 0.12 * gutter), back)
    narrow = 1 - 0.2 * ramp(-back, 0.0, 1.1) - 0.06 * ramp(back, 0.3, 1.0)
    aside = (np.abs(x) / narrow - np.float32(0.4 * body.half_width_mm)) / np.float32(
        0.6 * body.half_width_mm
    )
    inner = np.float32(0.2) + np.float32(0.65) * np.minimum(up, 1)
    aside = np.where(aside < 0, aside * inner, aside)
    power = np.float32(2.15)
    level = (np.abs(aside) ** power + np.abs(back) ** power + up ** np.float32(1.7)) ** (1 / power)
    mean_radius = np.float32(0.33 * body.half_width_mm + 0.38 * body.half_depth_mm)
    distance: Floats = ((level - 1) * mean_radius).astype(np.float32)
    return distance


def wall_point(
    z_mm: NDArray[np.float64], angle: NDArray[np.float64], body: Body
) -> NDArray[np.float64]:
    """Return points (n, 3) on the wall, at heights and at angles from the back to the left.

    Found by halving along the ray from the axis.
    """
    low, high = np.zeros_like(z_mm), np.full_like(z_mm, 1.6 * body.half_width_mm)
    for _ in range(24):
        middle = (low + high) / 2
        axes = [
            v.astype(np.float32) for v in (z_mm, middle * np.cos(angle), middle * np.sin(angle))
        ]
        outside = cavity_distance((axes[0], axes[1], axes[2]), body) > 0
        high = np.where(outside, middle, high)
        low = np.where(outside, low, middle)
    return np.column_stack([z_mm, low * np.cos(angle), low * np.sin(angle)])
