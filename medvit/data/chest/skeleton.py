"""Spine, ribs, sternum, scapulae and clavicles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medvit.data.chest.barrel import wall_point
from medvit.data.chest.body import Body
from medvit.data.chest.fields import Floats, Space, filled, rolling
from medvit.data.chest.tubes import Tubes, draw_distance, join, tubes_along

Axes = tuple[Floats, Floats, Floats]


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Bones of one body.

    Attributes:
        ribs: Twelve pairs, from the spine round to the front.
        plates: Scapulae, clavicles and sternum.
        spine_y_mm: Depth of the middle of the vertebral bodies at z = 0.
        body_radius_mm: Radius of a vertebral body at z = 0.
        level_mm: Height of a disc; others follow every `spacing_mm`.
        spacing_mm: From disc to disc.
    """

    ribs: Tubes
    plates: Tubes
    spine_y_mm: float
    body_radius_mm: float
    level_mm: float
    spacing_mm: float

    def spine_middle(self, z: Floats) -> Floats:
        """Return the depth of the vertebral bodies' middle along a kyphotic curve."""
        middle = self.spine_y_mm - 11 * ((z - 10) / np.float32(130)) ** 2
        return np.asarray(middle, np.float32)

    def spine_distance(self, axes: Axes) -> Floats:
        """Return the distance to the vertebral column, without its processes."""
        z, y, x = axes
        radius = self.body_radius_mm - 0.022 * z
        distance = np.hypot(x / 1.12, (y - self.spine_middle(z)) * 1.12) - radius
        return np.asarray(distance, np.float32)

    def bone(self, space: Space, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return attenuation and share of bone in each voxel."""
        axes = space.axes()
        step = min(space.step_mm[1:])
        mottle = rolling(rng, space, scale_mm=6, coarse_mm=4)
        ribs = np.full(space.shape, 9, np.float32)
        draw_distance(ribs, self.ribs, space, margin_mm=6)
        draw_distance(ribs, self.plates, space, margin_mm=6)
        spine, disc = self._spine(axes)
        nearest: Floats = np.minimum(ribs, spine)
        share = filled(nearest, step)
        shell = filled(np.abs(nearest + 1) - 1, step)
        hu = 190 + 45 * mottle + shell * 420
        hu += disc * (80 - hu)
        return hu.astype(np.float32), share

    def _spine(self, axes: Axes) -> tuple[Floats, Floats]:
        """Return the distance to the column with arch and processes, and where discs are."""
        z, y, x = axes
        column = self.spine_distance(axes)
        middle = self.spine_middle(z)
        radius = self.body_radius_mm
        behind = y - middle - radius - 6
        canal = np.hypot(x, behind) - 8.5
        ring = np.maximum(np.abs(canal - 2) - 2.2, -behind - 6)
        phase = np.abs((z - self.level_mm) / self.spacing_mm % 1 - 0.5) * self.spacing_mm
        thorn = np.maximum(np.abs(x) - 2.8, np.abs(behind - 24 - phase * 0.4) - 13)
        wing = np.maximum(np.hypot(behind - 4 - np.abs(x) * 0.35, phase - 2) - 5.5, np.abs(x) - 30)
        column = np.minimum(np.minimum(np.maximum(column, -canal), ring), np.minimum(thorn, wing))
        disc = filled((self.spacing_mm / 2 - 2.6 - phase).astype(np.float32), 1.5) * (behind < -5)
        return column.astype(np.float32), np.asarray(disc, np.float32)


def draw_skeleton(body: Body, rng: np.random.Generator) -> Skeleton:
    """Draw the bones that fit a body."""
    spine_y_mm = body.half_depth_mm - rng.uniform(16, 22)
    spacing_mm = rng.uniform(24, 29)
    ribs = [
        _rib(body, side, number, spacing_mm, spine_y_mm, rng)
        for side in (-1, 1)
        for number in range(12)
    ]
    return Skeleton(
        join(ribs),
        join([*_scapulae(body), *_clavicles(body), _sternum(body)]),
        float(spine_y_mm),
        float(rng.uniform(14.5, 18)),
        float(rng.uniform(0, 25)),
        float(spacing_mm),
    )


def _rib(
    body: Body,
    side: int,
    number: int,
    spacing_mm: float,
    spine_y_mm: float,
    rng: np.random.Generator,
) -> Tubes:
    """Return one rib: round the barrel from the spine, falling toward the front."""
    # Ribs 11 and 12 end at the side; the others reach the front.
    end = 0.93 if number < 10 else 0.5 - 0.12 * (number - 10)
    t = np.linspace(0.06, end, 26)
    height = body.apex_mm + 6 - number * spacing_mm * 0.98
    fall = 22 + 5.0 * number
    z = height - fall * np.sin(np.pi / 2 * np.minimum(t * 1.25, 1)) + 10 * np.maximum(t - 0.8, 0)
    z = np.minimum(z, body.apex_mm - 8)
    points = wall_point(z, side * np.pi * t, body)
    from_axis = np.maximum(np.hypot(points[:, 1], points[:, 2]), 1)
    points[:, 1:] *= (1 + 6 / from_axis)[:, None]
    points[:, 1] = np.minimum(points[:, 1], spine_y_mm + 26)
    radii = rng.uniform(4.2, 5.2) * np.ones(len(t))
    radii[t > 0.88] *= 1.25  # the swollen joint between bone and cartilage
    return tubes_along(points, radii)


def _scapulae(body: Body) -> list[Tubes]:
    plates = []
    for side in (-1, 1):
        for k in range(7):
            share = k / 6
            z = np.array([body.apex_mm - 8, body.apex_mm - 115 + 30 * share])
            x = side * (body.half_width_mm * (0.62 + 0.3 * share) + 12 * np.array([1.0, 0.4]))
            y = np.array([1.0, 1.0]) * (body.half_depth_mm * (0.95 - 0.28 * share) + 13)
            plates.append(tubes_along(np.column_stack([z, y, x]), np.array([3.0, 2.4])))
    return plates


def _clavicles(body: Body) -> list[Tubes]:
    top = body.apex_mm
    return [
        tubes_along(
            np.array(
                [
                    [top - 20, -0.72 * body.half_depth_mm, side * 16],
                    [top - 2, -0.7 * body.half_depth_mm, side * 62],
                    [top + 16, -0.3 * body.half_depth_mm, side * 120],
                    [top + 20, 0.1 * body.half_depth_mm, side * 165],
                ]
            ),
            np.array([9.0, 6.0, 6.0, 8.0]),
        )
        for side in (-1, 1)
    ]


def _sternum(body: Body) -> Tubes:
    front = -(body.half_depth_mm + 9)
    parts = [
        tubes_along(
            np.array([[body.apex_mm - 32, front + 14, x], [-85.0, front, x * 0.7]]),
            np.array([6.0, 5.0]),
        )
        for x in (-13.0, -5.0, 5.0, 13.0)
    ]
    return join(parts)
