"""The large shapes of a chest: where the lungs end, and what the tissue around them is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medvit.data.chest.barrel import Axes, cavity_distance
from medvit.data.chest.body import RECESS_MM, Body
from medvit.data.chest.fields import (
    Floats,
    Space,
    Triple,
    ellipsoid,
    filled,
    ramp,
    rolling,
    smooth_max,
    smooth_min,
)
from medvit.data.chest.skeleton import Skeleton
from medvit.data.chest.tubes import Tubes, draw_distance, draw_share, join, tubes_along

FAT_HU, MUSCLE_HU, LIVER_HU = -100.0, 50.0, 60.0


def mediastinum_distance(axes: Axes, body: Body) -> Floats:
    """Return the distance to what lies between the lungs: heart, vessels, hila, fat."""
    z, y, x = axes
    wide = np.exp(-(((y + 6) / 32) ** 2))
    low = ramp(-z, 20, 110)
    high = ramp(z, 20, 60)
    front = ramp(-y, 0.62 * body.half_depth_mm, 1.05 * body.half_depth_mm)
    half = 4 + wide * (24 + 6 * high + 12 * low) + 24 * low * ramp(-y, 20, 70) + 16 * front
    middle = np.abs(x - 3 - 8 * low) - half
    out = smooth_min(middle.astype(np.float32), heart_distance(axes, body), 14)
    for side in (-1, 1):
        hilum = ellipsoid(axes, (-14, 4, side * 33), (27, 19, 16))
        out = smooth_min(out, hilum, 8)
    arch = ellipsoid(axes, (38, 4, 14), (19, 34, 25))
    aorta = np.hypot(x - 20, y - 0.42 * body.half_depth_mm) - 14
    aorta = np.maximum(aorta, z - 40)
    out = smooth_min(out, arch, 8)
    return smooth_min(out, aorta.astype(np.float32), 16)


def heart_centre(body: Body) -> tuple[float, float, float]:
    """Return the middle of the heart, (z, y, x) mm."""
    return (-62.0, -0.28 * body.half_depth_mm, 20.0)


def heart_distance(axes: Axes, body: Body) -> Floats:
    """Return the distance to the heart: an egg whose tip points left, forward and down."""
    along, level, across = _heart_axes(axes, body)
    r = body.heart_mm
    waist = 1 - 0.16 * np.clip(along / np.float32(r), -1, 1)  # narrower at the tip
    egg = (along, level / waist, across / waist)
    return ellipsoid(egg, (0.0, 0.0, 0.0), (1.06 * r, 0.84 * r, 0.82 * r))


def _heart_axes(axes: Axes, body: Body) -> Axes:
    """Return places along the heart's long axis, up across it, and to its left and back."""
    at_z, at_y, at_x = heart_centre(body)
    z, y, x = axes[0] - np.float32(at_z), axes[1] - np.float32(at_y), axes[2] - np.float32(at_x)
    aside, down = np.float32(np.deg2rad(38)), np.float32(np.deg2rad(28))
    forward = x * np.cos(aside) - y * np.sin(aside)
    across = x * np.sin(aside) + y * np.cos(aside)
    return (
        forward * np.cos(down) - z * np.sin(down),
        forward * np.sin(down) + z * np.cos(down),
        across,
    )


def dome_distance(axes: Axes, body: Body) -> Floats:
    """Return the distance to the diaphragm's upper face; the abdomen lies inside."""
    z, _, _ = axes
    reach = 118.0
    half_width, half_depth = body.half_width_mm, body.half_depth_mm
    right = ellipsoid(
        axes,
        (body.right_dome_mm - reach, -0.12 * half_depth, -0.46 * half_width),
        (reach, 1.0 * half_depth, 0.57 * half_width),
    )
    left = ellipsoid(
        axes,
        (body.right_dome_mm - 14 - reach, -0.1 * half_depth, 0.48 * half_width),
        (reach, 0.97 * half_depth, 0.54 * half_width),
    )
    floor = z - np.float32(body.right_dome_mm - RECESS_MM)
    return smooth_min(smooth_min(right, left, 20), np.broadcast_to(floor, right.shape), 12)


def lung_distance(space: Space, body: Body, skeleton: Skeleton, rng: np.random.Generator) -> Floats:
    """Return the distance to the lungs' surface, negative inside either lung."""
    axes = space.axes()
    lungs = cavity_distance(axes, body)
    uneven = rolling(rng, space, scale_mm=34)
    lungs = lungs + 1.2 * uneven
    middle = (
        mediastinum_distance(axes, body) + 2.6 * uneven + 1.2 * rolling(rng, space, scale_mm=14)
    )
    lungs = smooth_max(lungs, -middle, 6)
    lungs = smooth_max(lungs, -dome_distance(axes, body) - 2 * uneven, 3)
    spine = skeleton.spine_distance(axes) - 4
    lungs = smooth_max(lungs, -spine, 8)
    ribs = np.full(space.shape, 12, np.float32)
    draw_distance(ribs, skeleton.ribs, space, margin_mm=8)
    return smooth_max(lungs, 2.2 - ribs, 3)


def tissue_hu(space: Space, body: Body, skeleton: Skeleton, rng: np.random.Generator) -> Floats:
    """Return attenuation of everything but lungs and bones, as if there were none."""
    axes = space.axes()
    step = min(space.step_mm[1:])
    inner = cavity_distance(axes, body)
    skin = skin_distance(axes, body)
    streaks = rolling(rng, space, scale_mm=9, coarse_mm=4)
    soft = _wall(axes, body, inner, streaks + 0.7 * rolling(rng, space, scale_mm=26))
    soft += filled(inner, 2) * (_organs(space, body, streaks) - soft)
    cartilage = np.zeros(space.shape, np.float32)
    draw_share(cartilage, skeleton.cartilages, space)
    soft += cartilage * (100 - soft)
    soft += filled(np.abs(skin + 1.2) - 1.2, step) * (30 - soft)
    soft += 6 * streaks
    out: Floats = (-1000 + filled(skin, step) * (soft + 1000)).astype(np.float32)
    _draw_table(out, space, body)
    return out


def _wall(axes: Axes, body: Body, inner: Floats, streaks: Floats) -> Floats:
    """Return the chest wall: intercostal muscle, a thin plane of fat, muscle, fat.

    The outer muscle is thick beside the spine and under the shoulders.
    """
    z, y, x = axes
    back = y / body.half_depth_mm
    beside_spine = 24 * np.exp(-(((np.abs(x) - 24) / 24) ** 2)) * ramp(back, 0.3, 0.8)
    breast = 13 * ramp(-back, 0.1, 0.6) * ramp(z, -40, 40) * ramp(np.abs(x), 12, 35)
    shoulder = 24 * ramp(back, -0.2, 0.4) * ramp(z, -70, 60) * ramp(np.abs(x), 30, 70)
    thick = body.muscle_mm * (0.6 + 0.1 * streaks) + beside_spine + breast + shoulder
    outer = np.maximum(11.5 + 0.9 * streaks - inner, inner - 13 - thick)
    muscle = np.maximum(filled(outer, 2.5), filled(inner - 10.5, 2.5) * ramp(streaks, -2.2, -1.2))
    soft: Floats = FAT_HU + (MUSCLE_HU - FAT_HU) * muscle * (0.8 + 0.2 * ramp(-streaks, -1.5, 0.5))
    return soft


def _organs(space: Space, body: Body, streaks: Floats) -> Floats:
    """Return what lies inside the cavity: fat, heart, great vessels, abdomen."""
    axes = space.axes()
    x = axes[2]
    organs = np.full(space.shape, FAT_HU, np.float32)
    organs += 140 * ramp(streaks, 0.8, 1.3)
    heart = heart_distance(axes, body) + 4 + 1.5 * streaks
    organs += filled(heart, 3) * (45 + 0.2 * body.blood_hu - organs)
    for chamber in _chambers(axes, body):
        blood = filled(np.maximum(chamber, heart + 3) + 2 * streaks, 4)
        organs += blood * (0.85 * body.blood_hu + 5 - organs)
    for vessel in _great_vessels(axes, body):
        organs += filled(vessel, 2) * (body.blood_hu - organs)
    hila = np.zeros(space.shape, np.float32)
    draw_share(hila, _hilar_vessels(), space)
    organs += hila * (body.blood_hu - organs)
    abdomen = dome_distance(axes, body)
    liver = LIVER_HU - 20 * ramp(x, 5, 25) + 6 * streaks
    organs += filled(abdomen + 2, 2) * (liver - organs)
    gas = ellipsoid(
        axes,
        (body.right_dome_mm - 34, -0.35 * body.half_depth_mm, 0.5 * body.half_width_mm),
        (14, 20, 26),
    )
    organs += filled(gas, 2) * (-950 - organs)
    return organs


def _chambers(axes: Axes, body: Body) -> list[Floats]:
    """Return the distances to the four chambers; walls are left between them."""
    where = _heart_axes(axes, body)
    r = body.heart_mm
    left = ellipsoid(where, (0.3 * r, 0.05 * r, 0.36 * r), (0.5 * r, 0.36 * r, 0.3 * r))
    right = ellipsoid(where, (0.22 * r, -0.05 * r, -0.4 * r), (0.6 * r, 0.5 * r, 0.32 * r))
    left_atrium = ellipsoid(where, (-0.5 * r, 0.25 * r, 0.35 * r), (0.34 * r, 0.4 * r, 0.44 * r))
    right_atrium = ellipsoid(where, (-0.62 * r, -0.1 * r, -0.35 * r), (0.36 * r, 0.6 * r, 0.4 * r))
    return [left, right, left_atrium, right_atrium]


def _hilar_vessels() -> Tubes:
    """Return the lung arteries and veins between heart and lungs."""
    lines = []
    for side in (-1, 1):
        lines.append(tubes_along(_mm((-8, -18, 14), (-6, -6, side * 22), ARTERY_ROOT, side), _PIPE))
        lines.append(tubes_along(_mm((-38, -4, 6), (-32, -2, side * 20), VEIN_ROOT, side), _PIPE))
        lines.append(
            tubes_along(_mm((-34, -12, 8), (-22, -14, side * 22), UPPER_VEIN, side), _PIPE)
        )
    return join(lines)


ARTERY_ROOT, VEIN_ROOT, UPPER_VEIN = (-4.0, 2.0, 34.0), (-28.0, 2.0, 34.0), (-12.0, -12.0, 36.0)
_PIPE = np.array([10.0, 9.0, 7.5])


def _mm(first: Triple, second: Triple, root: Triple, side: int) -> NDArray[np.float64]:
    return np.array([first, second, (root[0], root[1], side * root[2])])


def _great_vessels(axes: Axes, body: Body) -> list[Floats]:
    z, y, x = axes
    deep = np.float32(0.42 * body.half_depth_mm)
    descending = np.maximum(np.hypot(x - 20, y - deep) - 12, z - 38)
    ring = np.hypot(np.hypot(y - deep / 2 + 6, z - 22) - 24, x - 12 - y * 0.3) - 12
    arch = np.maximum(ring, 24 - z)
    ascending = np.maximum(np.hypot(x + 8, y + 22) - 15, np.abs(z + 4) - 32)
    cava = np.maximum(np.hypot(x + 24, y + 14) - 9, np.abs(z - 35) - 60)
    trunk = np.maximum(np.hypot(x - 20, y + 24) - 13, np.abs(z + 15) - 22)
    left = ellipsoid(axes, (-6, -2, 34), (10, 20, 14))
    right = ellipsoid(axes, (-14, -4, -18), (9, 12, 32))
    neck = [np.maximum(np.hypot(x - at, y + 4) - 5, 40 - z) for at in (-22, -8, 18)]
    found: list[Floats] = [descending, arch, ascending, cava, trunk, left, right, *neck]
    return found


def skin_distance(axes: Axes, body: Body) -> Floats:
    """Return the distance to the skin: wide at the shoulders, with breasts or without."""
    z, y, x = axes
    wall = 12 + body.muscle_mm + body.fat_mm
    shoulders = 62 * ramp(z, body.apex_mm - 75, body.apex_mm + 25)
    wide = body.half_width_mm + wall + 4 + shoulders
    deep = body.half_depth_mm + wall + 8 - 10 * ramp(z, 40, body.apex_mm + 20)
    power = np.float32(2.25)
    hollow = 0.05 * np.exp(-((x / 25) ** 2))  # the dip along spine and sternum
    level = (np.abs(x / wide) ** power + np.abs((y - 5) / deep) ** power) ** (1 / power) + hollow
    trunk = ((level - 1) * (0.5 * wide + 0.5 * deep)).astype(np.float32)
    if body.breast_mm <= 0:
        return trunk
    middle = (-15.0, -(body.half_depth_mm + 4), 0.46 * body.half_width_mm)
    r = body.breast_mm
    sides = (axes[0], axes[1], np.abs(axes[2]))
    breasts = ellipsoid(sides, middle, (1.3 * r + 18, 0.8 * r + 22, r + 26))
    return smooth_min(trunk, breasts, 18)


def _draw_table(hu: Floats, space: Space, body: Body) -> None:
    """A curved couch behind the back: two thin plates, seen only in wide fields."""
    _, y, x = space.axes()
    wall = 12 + body.muscle_mm + body.fat_mm
    below = (y - (body.half_depth_mm + wall + 11) + (x / 60) ** 2).astype(np.float32)
    for at, height in ((4.0, -450.0), (34.0, -500.0)):
        plate = filled(np.abs(below - at) - 1.2, 2.0) * (np.abs(x) < 230)
        air = np.clip((-800 - hu) / 200, 0, 1)
        hu += plate * air * (height - hu)
