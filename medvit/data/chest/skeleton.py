"""Spine, ribs, sternum, scapulae and clavicles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvit.data.chest.barrel import cavity_distance, wall_point
from medvit.data.chest.body import Body
from medvit.data.chest.fields import Floats, Space, filled, ramp, rolling
from medvit.data.chest.tubes import Tubes, draw_distance, join, tubes_along

Axes = tuple[Floats, Floats, Floats]

DISC_HU = 80.0
BONY = 25
"""Points of a rib line that are bone; the other five are cartilage."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Bones of one body.

    Attributes:
        ribs: The bony parts of twelve pairs.
        cartilages: What joins the upper ten to the sternum.
        spine_y_mm: Depth of the middle of the vertebral bodies at z = 0.
        body_radius_mm: Radius of a vertebral body at z = 0.
        level_mm: Height of a disc; others follow every `spacing_mm`.
        spacing_mm: From disc to disc.
        marrow_loss_hu: How much less dense old bones are.
    """

    body: Body
    ribs: Tubes
    cartilages: Tubes
    clavicles: Tubes
    spine_y_mm: float
    body_radius_mm: float
    level_mm: float
    spacing_mm: float
    marrow_loss_hu: float

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

    def distance(self, space: Space) -> Floats:
        """Return the distance to the nearest bone, up to about 6 mm away."""
        axes = space.axes()
        nearest = np.minimum(self._spine(axes), self._plates(axes))
        draw_distance(nearest, self.ribs, space, margin_mm=6)
        draw_distance(nearest, self.clavicles, space, margin_mm=6)
        return nearest

    def marrow_hu(self, space: Space, rng: np.random.Generator) -> Floats:
        """Return attenuation inside the cortex: mottled marrow, and discs in the column."""
        z, y, _ = space.axes()
        phase = self._phase(z)
        behind = y - self.spine_middle(z) - self.body_radius_mm
        disc = filled((self.spacing_mm / 2 - 2.6 - phase).astype(np.float32), 2.5) * (behind < 0)
        hu = 235 + 60 * rolling(rng, space, scale_mm=6, coarse_mm=4)
        hu = hu - 0.5 * self.marrow_loss_hu
        return np.asarray(hu + disc * (DISC_HU - hu), np.float32)

    def _phase(self, z: Floats) -> Floats:
        """Return the distance from the middle of the nearest vertebra along the column."""
        phase = np.abs((z - self.level_mm) / self.spacing_mm % 1 - 0.5) * self.spacing_mm
        return np.asarray(phase, np.float32)

    def _spine(self, axes: Axes) -> Floats:
        """Return the distance to the column with its arch and processes."""
        z, y, x = axes
        behind = y - self.spine_middle(z) - self.body_radius_mm - 6
        canal = np.hypot(x, behind) - 8.5
        ring = np.maximum(np.abs(canal - 2) - 2.2, -behind - 6)
        phase = self._phase(z)
        thorn = np.maximum(np.abs(x) - 2.8, np.abs(behind - 24 - phase * 0.4) - 13)
        wing = np.maximum(np.hypot(behind - 4 - np.abs(x) * 0.35, phase - 2) - 5.5, np.abs(x) - 30)
        column = np.maximum(self.spine_distance(axes), -canal)
        column = np.minimum(np.minimum(column, ring), np.minimum(thorn, wing))
        return np.asarray(column, np.float32)

    def _plates(self, axes: Axes) -> Floats:
        """Return the distance to sternum and scapulae."""
        z, y, x = axes
        body = self.body
        off_wall = cavity_distance(axes, body)
        top = body.apex_mm - 34
        breadth = 15 + 7 * ramp(z, top - 45, top)
        flat = np.hypot(x / breadth, (off_wall - 8 - 0.012 * x * x) / 6.5)
        front = (flat - 1) * 6.5
        sternum = np.maximum(
            np.maximum(front, y + 0.5 * body.half_depth_mm), np.abs(z + 20) - top - 20
        )
        aside = (np.abs(x) / body.half_width_mm).astype(np.float32)
        low = body.apex_mm - 122 + 60 * ramp(aside, 0.72, 0.98)
        bowed = 17 + 6 * ramp(z - low, 0, 70) - 4 * ramp(aside, 0.6, 0.8)
        blade = np.abs(off_wall - bowed) - 2.2
        blade = np.maximum(blade, np.maximum(low - z, z - body.apex_mm + 6))
        blade = np.maximum(blade, (0.5 - aside) * body.half_width_mm)
        blade = np.maximum(blade, 0.22 * body.half_depth_mm - y)
        return np.asarray(np.minimum(sternum, blade), np.float32)


def draw_skeleton(body: Body, rng: np.random.Generator) -> Skeleton:
    """Draw the bones that fit a body."""
    spine_y_mm = float(body.half_depth_mm - rng.uniform(16, 22))
    spacing_mm = float(rng.uniform(24, 29))
    lines = [
        _rib_line(body, side, number, spacing_mm=spacing_mm, fall=float(rng.uniform(0.85, 1.15)))
        for number in range(12)
        for side in (-1, 1)
    ]
    for points in lines:
        points[:, 1] = np.minimum(points[:, 1], spine_y_mm + 26)
    radius_mm = float(rng.uniform(4.0, 5.0))
    return Skeleton(
        body,
        join([tubes_along(line[:BONY], np.full(BONY, radius_mm)) for line in lines]),
        join([tubes_along(line[BONY:], np.full(len(line) - BONY, 5.5)) for line in lines[:20]]),
        join(_clavicles(body)),
        spine_y_mm,
        float(rng.uniform(14.5, 18)),
        float(rng.uniform(0, 25)),
        spacing_mm,
        float(rng.uniform(0, 250)),
    )


def _rib_line(
    body: Body, side: int, number: int, *, spacing_mm: float, fall: float
) -> NDArray[np.float64]:
    """Return the middle of one rib, round the barrel from the spine, falling to the front.

    The last third is cartilage, which rises again; ribs 11 and 12 end at the side.
    """
    end = 0.95 if number < 10 else 0.62 - 0.15 * (number - 10)
    t = np.linspace(0.06, end, 30)
    height = body.apex_mm + 8 - number * spacing_mm * 0.95
    drop = min(36 + 11 * number, 112) * fall
    z = height - drop * np.clip((t - 0.1) / 0.68, 0, 1)
    z += (8 + 3 * number) * np.clip((t - 0.8) / 0.15, 0, 1)
    points = wall_point(np.minimum(z, body.apex_mm - 7), side * np.pi * t, body)
    from_axis = np.maximum(np.hypot(points[:, 1], points[:, 2]), 1)
    points[:, 1:] *= (1 + 5.5 / from_axis)[:, None]
    points[:, 0] = z
    return points


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
