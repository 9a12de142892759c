"""A chest of ellipsoids, small enough to make in a test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medvit.geometry import Affine, affine_from, index_to_lps, lps_to_index
from medvit.volume.volume import Volume, volume_of

Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Ball:
    """A sphere of soft tissue in LPS mm."""

    centre_lps_mm: Point
    diameter_mm: float


def positions_lps_mm(shape: tuple[int, int, int], affine: Affine) -> npt.NDArray[np.float64]:
    """Return the LPS mm point (z, y, x, 3) of every voxel."""
    return index_to_lps(affine, np.moveaxis(np.indices(shape), 0, -1))


def in_ellipsoid(
    points: npt.NDArray[np.float64], centre: Point, radii_mm: Point
) -> npt.NDArray[np.bool_]:
    """Return which points (..., 3) lie inside an ellipsoid along the axes."""
    return np.asarray((((points - centre) / radii_mm) ** 2).sum(axis=-1) <= 1.0)


def make_chest(
    shape: tuple[int, int, int] = (60, 64, 80),
    affine: Affine | None = None,
    *,
    balls: tuple[Ball, ...] = (),
    noise: np.random.Generator | None = None,
) -> Volume:
    """Return a body, two lungs, a heart between them, a table below, and balls.

    Centred on LPS (0, 0, 0); the lungs are ellipsoids at x = -70 and 70 mm.
    """
    affine = centred_affine(shape, (4.0, 5.0, 5.0)) if affine is None else affine
    points = positions_lps_mm(shape, affine)
    hu = np.full(shape, -1000.0, dtype=np.float32)
    hu[in_ellipsoid(points, (0, 0, 0), (175, 120, 1e4))] = 40.0
    for side in (-70, 70):
        hu[in_ellipsoid(points, (side, 0, 0), (55, 80, 95))] = -850.0
    hu[in_ellipsoid(points, (0, -20, -20), (45, 45, 45))] = 50.0
    hu[(points[..., 1] > 132) & (points[..., 1] < 140)] = 100.0
    for ball in balls:
        radius = ball.diameter_mm / 2
        hu[in_ellipsoid(points, ball.centre_lps_mm, (radius, radius, radius))] = 30.0
    if noise is not None:
        hu += noise.normal(0, 20, shape).astype(np.float32)
    return volume_of(hu, affine)


def centred_affine(
    shape: tuple[int, int, int],
    steps_mm: Point,
    *,
    order: str = "zyx",
    turned: tuple[bool, bool, bool] = (False, False, False),
) -> Affine:
    """Return an affine whose array axes run along `order`, centred on LPS (0, 0, 0)."""
    columns = []
    for step_mm, axis, is_turned in zip(steps_mm, order, turned, strict=True):
        column = np.zeros(3)
        column["xyz".index(axis)] = -step_mm if is_turned else step_mm
        columns.append(column)
    origin = -sum(
        (column * (length - 1) / 2 for column, length in zip(columns, shape, strict=True)),
        np.zeros(3),
    )
    return affine_from(origin.tolist(), *(column.tolist() for column in columns))


def rearranged(volume: Volume, order: tuple[int, int, int], turned: tuple[int, ...]) -> Volume:
    """Return the same scan stored with its axes permuted and some turned round."""
    hu = np.flip(volume.read_all(), turned).transpose(order)
    first = [volume.shape[axis] - 1 if axis in turned else 0 for axis in range(3)]
    steps = [volume.affine_lps[:3, axis] * (-1.0 if axis in turned else 1.0) for axis in order]
    origin = index_to_lps(volume.affine_lps, first)
    return volume_of(hu, affine_from(origin.tolist(), *(step.tolist() for step in steps)))


def voxel_at(volume: Volume, point: Point) -> tuple[int, int, int]:
    """Return the nearest voxel index of an LPS mm point."""
    z, y, x = np.rint(lps_to_index(volume.affine_lps, point)).astype(int)
    return int(z), int(y), int(x)
