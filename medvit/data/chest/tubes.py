"""Tubes along lines: vessels, airways, ribs; drawn into small boxes of a grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medvit.data.chest.fields import Floats, Space

Tubes = NDArray[np.float64]
"""(n, 8): start (z, y, x), end (z, y, x), radius at start and at end; mm, patient's frame."""


def tubes_along(points_mm: NDArray[np.float64], radii_mm: NDArray[np.float64]) -> Tubes:
    """Return the tubes of a polyline with a radius at each point."""
    return np.column_stack([points_mm[:-1], points_mm[1:], radii_mm[:-1], radii_mm[1:]])


def join(parts: list[Tubes]) -> Tubes:
    """Return all tubes in one table."""
    return np.concatenate([np.zeros((0, 8)), *parts])


def draw_share(share: Floats, tubes: Tubes, space: Space, *, grow_mm: float = 0.0) -> None:
    """Raise `share` to the part of each voxel that lies in a tube, in place."""
    edge_mm = float(np.prod(space.step_mm) ** (1 / 3))
    for box, distance, radius in _boxes(tubes, space, grow_mm, margin_mm=edge_mm):
        np.clip((radius - distance) / edge_mm + 0.5, 0, 1, out=distance)
        # A tube thinner than a voxel fills it in part only.
        thin = np.minimum(1, np.pi * radius * radius / (edge_mm * edge_mm))
        distance *= thin
        part = share[box]
        np.maximum(part, distance, out=part)


def draw_distance(field: Floats, tubes: Tubes, space: Space, *, margin_mm: float) -> None:
    """Lower `field` to the distance to the nearest tube, in place, up to a margin."""
    for box, distance, radius in _boxes(tubes, space, 0.0, margin_mm=margin_mm):
        part = field[box]
        np.minimum(part, distance - radius, out=part)


def _boxes(tubes: Tubes, space: Space, grow_mm: float, *, margin_mm: float):  # type: ignore[no-untyped-def]
    """Yield for each tube its box, the distances to its axis and its radius there."""
    if not len(tubes):
        return
    step = np.array(space.step_mm)
    start = space.to_index(tubes[:, :3])
    end = space.to_index(tubes[:, 3:6])
    radii = tubes[:, 6:] + grow_mm
    reach = (radii.max(axis=1)[:, None] + margin_mm) / step
    low = np.maximum(np.floor(np.minimum(start, end) - reach), 0).astype(int)
    high = np.minimum(np.ceil(np.maximum(start, end) + reach) + 1, space.shape).astype(int)
    seen = np.flatnonzero((low < high).all(axis=1))
    first, way = start * step, (end - start) * step
    square = np.maximum((way**2).sum(axis=1), 1e-9)
    grids = [
        np.arange(count, dtype=np.float32) * np.float32(s) for count, s in zip(space.shape, step)
    ]
    for k in seen:
        (z0, y0, x0), (z1, y1, x1) = low[k], high[k]
        z = grids[0][z0:z1, None, None] - np.float32(first[k, 0])
        y = grids[1][None, y0:y1, None] - np.float32(first[k, 1])
        x = grids[2][None, None, x0:x1] - np.float32(first[k, 2])
        wz, wy, wx = (np.float32(w) for w in way[k] / square[k])
        along = np.clip(z * wz + y * wy + x * wx, 0, 1)
        wz, wy, wx = (np.float32(w) for w in way[k])
        z, y, x = z - along * wz, y - along * wy, x - along * wx
        distance = np.sqrt(z * z + y * y + x * x)
        radius = np.float32(radii[k, 0]) + along * np.float32(radii[k, 1] - radii[k, 0])
        yield (slice(z0, z1), slice(y0, y1), slice(x0, x1)), distance, radius
