"""What the lungs hold: air and its gradient, vessels, airways, fissures, scars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medvit.data.chest.anatomy import ARTERY_ROOT, VEIN_ROOT
from medvit.data.chest.body import RECESS_MM, Body
from medvit.data.chest.fields import Floats, Space, ramp, refine, rolling
from medvit.data.chest.trees import beside, grow_tree, with_twigs
from medvit.data.chest.tubes import Tubes, draw_share, join, tubes_along

Points = NDArray[np.float64]

WALL_HU, LUMEN_HU = 40.0, -985.0


@dataclass(frozen=True, slots=True)
class Lines:
    """Everything thin in the lungs, as tubes.

    Attributes:
        vessels: Arteries, veins and scars.
        walls: Airways with their walls.
        lumens: The air in them.
    """

    vessels: Tubes
    walls: Tubes
    lumens: Tubes


def draw_lines(coarse_lungs: Floats, coarse: Space, body: Body, rng: np.random.Generator) -> Lines:
    """Grow the trees of both lungs."""
    vessels, airways = [], [_windpipe(body)]
    n_tips = max(1, round(body.n_tips * _share_seen(coarse, body)))
    for side in (-1, 1):
        depth = np.where(np.sign(coarse.axes()[2]) == side, coarse_lungs, 99)
        tips = np.flatnonzero(depth < -3)
        if tips.size < 50:
            continue
        for tree in ("artery", "vein"):
            at = _points(rng.choice(tips, n_tips), coarse, rng)
            z, y, x = ARTERY_ROOT if tree == "artery" else VEIN_ROOT
            root = np.array([z, y, side * (x - 4)])
            grown = grow_tree(rng, root, at, tip_radius_mm=rng.uniform(0.37, 0.5))
            vessels.append(with_twigs(rng, grown, thinner_mm=0.75))
            if tree == "artery":
                airways.append(beside(grown, thickest_share=0.72, least_mm=2.1))
        if body.has_scars:
            vessels.extend(_scars(np.flatnonzero((depth < -1) & (depth > -12)), coarse, rng))
    tubes = join(airways)
    outer = tubes.copy()
    outer[:, 6:] = outer[:, 6:] * 1.1 + 0.45
    return Lines(join(vessels), outer, tubes)


def lung_hu(
    lungs: Floats, coarse: Space, space: Space, body: Body, rng: np.random.Generator
) -> Floats:
    """Return parenchyma without anything thin in it.

    Args:
        lungs: Distance to the lungs' surface on the coarse grid.
    """
    _, y, _ = coarse.axes()
    z = coarse.axes()[0]
    hu = body.lung_hu + body.gradient_hu * (y / (2 * body.half_depth_mm))
    hu = hu + 14 * rolling(rng, coarse, scale_mm=40) + 10 * rolling(rng, coarse, scale_mm=10)
    if body.emphysema > 0:
        holes = rolling(rng, coarse, scale_mm=14) + 0.4 * ramp(z, 0, body.apex_mm)
        level = float(np.quantile(holes, 1 - body.emphysema))
        hu += ramp(holes, level - 0.25, level + 0.25) * (-955 - hu)
    if body.has_dependent_band:
        rough = rolling(rng, coarse, scale_mm=16)
        back = ramp(y, 0.45 * body.half_depth_mm, 0.8 * body.half_depth_mm)
        hu += 260 * back * ramp(lungs, -7, 0) * ramp(rough, -0.3, 1.2)
    if body.has_caps:
        rough = rolling(rng, coarse, scale_mm=10)
        top = ramp(z, body.apex_mm - 26, body.apex_mm - 10)
        hu += top * ramp(lungs, -7, -2) * ramp(rough, 0.0, 0.8) * (0 - hu)
    if body.has_plaques:
        rough = rolling(rng, coarse, scale_mm=22)
        hu += ramp(lungs, -4.5, -2.5) * ramp(rough, 1.5, 1.8) * (30 - hu)
    out = refine(hu.astype(np.float32), coarse, space)
    out += _grain(space, rng)
    return out


def _share_seen(space: Space, body: Body) -> float:
    """Return how much of the lungs' height a grid covers: a slab holds as much of their vessels."""
    low, high = body.right_dome_mm - RECESS_MM, body.apex_mm
    first, last = space.origin_mm[0], space.origin_mm[0] + space.step_mm[0] * (space.shape[0] - 1)
    seen = min(last, high) - max(first, low)
    return float(np.clip(seen / (high - low), 0, 1))


def draw_fissures(hu: Floats, space: Space, rng: np.random.Generator) -> None:
    """Thin curved sheets, two on the right and one on the left, in place."""
    _, y, x = (axis[0] for axis in space.axes())
    bend = rng.uniform(-1, 1, 4)
    raised_hu = float(rng.uniform(30, 150))
    oblique = -12 - 0.9 * (y - 5) - 14 * np.cos(x / 60 + 0.25 * bend[0]) - 8 * bend[1]
    _draw_sheet(hu, oblique, space, raised_hu=raised_hu)
    level = -6 - 12 * np.cos((y + 40) / 45 + 0.25 * bend[2]) + 0.1 * x
    is_minor = (x < 0) & (level > oblique)
    _draw_sheet(hu, np.where(is_minor, level, np.nan), space, raised_hu=raised_hu)


def _draw_sheet(hu: Floats, height_mm: Floats, space: Space, *, raised_hu: float) -> None:
    """Raise the voxels within half a millimetre of a surface given by its height (y, x)."""
    step = space.step_mm[0]
    slope = np.hypot(*np.gradient(height_mm, *space.step_mm[1:]))
    half = 0.7 * np.sqrt(1 + slope**2)  # along z, for 0.7 mm across
    middle = (height_mm - space.origin_mm[0]) / step
    reach = int(np.ceil(2.5 / step))
    for offset in range(-reach, reach + 1):
        level = np.floor(middle) + offset
        seen = (level >= 0) & (level < space.shape[0])
        weight = np.clip(1 - np.abs(level - middle) * step / half, 0, 1)
        rows, columns = np.nonzero(seen & (weight > 0))
        levels = level[rows, columns].astype(np.intp)
        hu[levels, rows, columns] += np.float32(raised_hu) * weight[rows, columns]


def draw_lines_into(hu: Floats, lines: Lines, space: Space, *, blood_hu: float) -> None:
    """Draw airway walls, vessels, and the air in airways, in place; walls take up no contrast."""
    for tubes, inner_hu in ((lines.walls, WALL_HU), (lines.vessels, 0.85 * blood_hu + 5)):
        share = np.zeros(space.shape, np.float32)
        draw_share(share, tubes, space)
        share *= np.maximum(np.float32(inner_hu) - hu, 0)
        hu += share
    air = np.zeros(space.shape, np.float32)
    draw_share(air, lines.lumens, space)
    hu += air * (LUMEN_HU - hu)


def _windpipe(body: Body) -> Tubes:
    """Return trachea and main bronchi, down to the hila."""
    top = body.apex_mm + 60
    trachea = tubes_along(
        np.array([[top, -14.0, 0.0], [60.0, -4.0, -1.0], [14.0, 6.0, -1.0]]),
        np.array([8.5, 8.5, 9.0]),
    )
    right = tubes_along(
        np.array([[14.0, 6.0, -2.0], [0.0, 6.0, -20.0], [-22.0, 7.0, -36.0], [-45.0, 14.0, -44.0]]),
        np.array([7.5, 6.5, 5.0, 3.2]),
    )
    left = tubes_along(
        np.array([[14.0, 6.0, 0.0], [-6.0, 8.0, 24.0], [-16.0, 9.0, 38.0], [-40.0, 18.0, 46.0]]),
        np.array([7.0, 5.8, 5.0, 3.0]),
    )
    upper = tubes_along(
        np.array([[0.0, 6.0, -20.0], [8.0, 4.0, -40.0], [22.0, 2.0, -52.0]]),
        np.array([5.0, 4.2, 2.6]),
    )
    return join([trachea, right, left, upper])


def _scars(near_wall: NDArray[np.intp], coarse: Space, rng: np.random.Generator) -> list[Tubes]:
    """Return a few thin bands that start at the pleura."""
    if not near_wall.size:
        return []
    bands = []
    for _ in range(int(rng.integers(0, 5))):
        start = _points(rng.choice(near_wall, 1), coarse, rng)[0]
        way = rng.normal(0, 1, 3) * (0.5, 1, 1)
        length_mm = rng.uniform(10, 35)
        steps = np.cumsum(way + rng.normal(0, 0.35, (6, 3)), axis=0)
        points = start + steps / np.linalg.norm(steps[-1]) * length_mm
        bands.append(tubes_along(points, rng.uniform(0.5, 1.4) * rng.uniform(0.6, 1.4, 6)))
    return bands


def _points(flat: NDArray[np.intp], coarse: Space, rng: np.random.Generator) -> Points:
    """Return the patient's-frame points of flat indices, jittered within their voxels."""
    index = np.stack(np.unravel_index(flat, coarse.shape), axis=1) + rng.uniform(
        -0.5, 0.5, (flat.size, 3)
    )
    grid = index * np.array(coarse.step_mm) + np.array(coarse.origin_mm)
    cos, sin = np.cos(coarse.turn), np.sin(coarse.turn)
    z, y, x = grid.T
    return np.stack([z, cos * y - sin * x, sin * y + cos * x], axis=1)


def _grain(space: Space, rng: np.random.Generator) -> Floats:
    """Return the mottle of lobules and vessels below resolution."""
    tile = tuple(min(count, 96) for count in space.shape)
    white = rng.standard_normal(tile, dtype=np.float32)
    fine = ndimage.gaussian_filter(white, [0.8 / mm for mm in space.step_mm], mode="wrap")
    fine *= np.float32(16 / fine.std())
    repeats = [-(-count // t) for count, t in zip(space.shape, tile, strict=True)]
    whole = np.tile(fine, repeats)
    crop = tuple(slice(0, count) for count in space.shape)
    out: Floats = whole[crop]
    return out
