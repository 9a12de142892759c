"""Tubes along lines: vessels, airways, ribs; drawn into small boxes of a grid."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from medvit.data.chest.fields import Floats, Space

Tubes = NDArray[np.float64]
"""(n, 8): start (z, y, x), end (z, y, x), radius at start and at end; mm, patient's frame."""


THIN_SHARE = 0.55
"""Radius in voxels below which a tube is drawn by its volume alone."""


def tubes_along(points_mm: NDArray[np.float64], radii_mm: NDArray[np.float64]) -> Tubes:
    """Return the tubes of a polyline with a radius at each point."""
    return np.column_stack([points_mm[:-1], points_mm[1:], radii_mm[:-1], radii_mm[1:]])


def join(parts: list[Tubes]) -> Tubes:
    """Return all tubes in one table."""
    return np.concatenate([np.zeros((0, 8)), *parts])


def draw_share(share: Floats, tubes: Tubes, space: Space) -> None:
    """Raise `share` to the part of each voxel that lies in a tube, in place."""
    edge_mm = float(np.prod(space.step_mm) ** (1 / 3))
    is_thin = tubes[:, 6:].max(axis=1, initial=0) < THIN_SHARE * edge_mm
    for box, distance, radius in _iter_boxes(tubes[~is_thin], space, margin_mm=edge_mm):
        inside = np.clip((radius - distance) / edge_mm + 0.5, 0, 1)
        # A tube thinner than a voxel fills it in part only.
        inside *= np.minimum(1, np.pi * radius * radius / (edge_mm * edge_mm))
        part = share[box]
        np.maximum(part, inside, out=part)
    _sow(share, tubes[is_thin], space, step_mm=edge_mm / 2)


def _sow(share: Floats, tubes: Tubes, space: Space, *, step_mm: float) -> None:
    """Add the volume of thin tubes to the eight voxels around each point along them, in place."""
    lengths = np.linalg.norm(tubes[:, 3:6] - tubes[:, :3], axis=1)
    counts = np.maximum(np.ceil(lengths / step_mm).astype(int), 1)
    tube = np.repeat(np.arange(len(tubes)), counts)
    number = np.arange(tube.size) - np.repeat(np.cumsum(counts) - counts, counts)
    along = ((number + 0.5) / counts[tube])[:, None]
    index = space.to_index(tubes[tube, :3] * (1 - along) + tubes[tube, 3:6] * along)
    radius = tubes[tube, 6] * (1 - along[:, 0]) + tubes[tube, 7] * along[:, 0]
    volume = np.pi * radius**2 * lengths[tube] / counts[tube] / np.prod(space.step_mm)
    low = np.floor(index).astype(int)
    part = index - low
    for corner in np.ndindex(2, 2, 2):
        place = low + corner
        weight = np.where(corner, part, 1 - part).prod(axis=1) * volume
        seen = ((place >= 0) & (place < space.shape)).all(axis=1)
        np.add.at(share, tuple(place[seen].T), weight[seen].astype(np.float32))
    np.minimum(share, 1, out=share)


def draw_distance(field: Floats, tubes: Tubes, space: Space, *, margin_mm: float) -> None:
    """Lower `field` to the distance to the nearest tube, in place, up to a margin."""
    for box, distance, radius in _iter_boxes(tubes, space, margin_mm=margin_mm):
        part = field[box]
        np.minimum(part, distance - radius, out=part)


Box = tuple[slice, slice, slice]


def _iter_boxes(
    tubes: Tubes, space: Space, *, margin_mm: float
) -> Iterator[tuple[Box, Floats, Floats]]:
    """Yield for each tube its box, the distances to its axis and its radius there."""
    step = np.array(space.step_mm)
    start, end = space.to_index(tubes[:, :3]), space.to_index(tubes[:, 3:6])
    reach = (tubes[:, 6:].max(axis=1, initial=0)[:, None] + margin_mm) / step
    low = np.maximum(np.floor(np.minimum(start, end) - reach), 0).astype(int)
    high = np.minimum(np.ceil(np.maximum(start, end) + reach) + 1, space.shape).astype(int)
    first, way = (start * step).astype(np.float32), ((end - start) * step).astype(np.float32)
    radii = tubes[:, 6:].astype(np.float32)
    share = way / np.maximum((way**2).sum(axis=1, keepdims=True), np.float32(1e-9))
    grids = [
        np.arange(n, dtype=np.float32) * np.float32(s)
        for n, s in zip(space.shape, step, strict=True)
    ]
    for k in np.flatnonzero((low < high).all(axis=1)):
        (z0, y0, x0), (z1, y1, x1) = low[k], high[k]
        z = grids[0][z0:z1, None, None] - first[k, 0]
        y = grids[1][None, y0:y1, None] - first[k, 1]
        x = grids[2][None, None, x0:x1] - first[k, 2]
        along = np.clip(z * share[k, 0] + y * share[k, 1] + x * share[k, 2], 0, 1)
        z, y, x = z - along * way[k, 0], y - along * way[k, 1], x - along * way[k, 2]
        distance = np.sqrt(z * z + y * y + x * x)
        radius = radii[k, 0] + along * (radii[k, 1] - radii[k, 0])
        yield (slice(z0, z1), slice(y0, y1), slice(x0, x1)), distance, radius
