"""Vessel and airway trees that fill a lung, from the hilum to just under the pleura."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medvit.data.chest.tubes import Tubes

Points = NDArray[np.float64]

MURRAY = 1 / 3
"""Flow is shared as the cube of the radius: an even split shrinks it by 2^(-1/3)."""


def grow_tree(
    rng: np.random.Generator, root_mm: Points, tips_mm: Points, *, tip_radius_mm: float
) -> Tubes:
    """Return a binary tree of bent tubes from a root to every tip.

    The tips are halved again and again across their longest extent; each branch
    runs part of the way to the middle of its tips, with the radius their number asks.
    """
    tubes: list[Points] = []
    open_branches = [(root_mm, np.arange(len(tips_mm)))]
    while open_branches:
        start, members = open_branches.pop()
        count = len(members)
        radius = tip_radius_mm * count**MURRAY
        if count == 1:
            end = tips_mm[members[0]]
            tubes.append(_bent(rng, start, end, radius, radius * 0.6))
            continue
        middle = tips_mm[members].mean(axis=0)
        end = start + (middle - start) * rng.uniform(0.3, 0.5)
        halves = _halve(rng, tips_mm, members)
        largest = max(len(half) for half in halves)
        tubes.append(_bent(rng, start, end, radius, tip_radius_mm * largest**MURRAY))
        open_branches.extend((end, half) for half in halves)
    return np.concatenate(tubes)


def with_twigs(
    rng: np.random.Generator, tubes: Tubes, *, thinner_mm: float, per_tube: int = 2
) -> Tubes:
    """Return a tree with short twigs on all that is thinner than a radius."""
    bearing = np.repeat(tubes[tubes[:, 6] < thinner_mm], per_tube, axis=0)
    at = rng.uniform(0.2, 1, (len(bearing), 1))
    start = bearing[:, :3] * (1 - at) + bearing[:, 3:6] * at
    way = bearing[:, 3:6] - bearing[:, :3]
    way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-6)
    way += rng.normal(0, 0.7, way.shape)
    way *= rng.uniform(3, 9, (len(bearing), 1)) / np.linalg.norm(way, axis=1, keepdims=True)
    radius = bearing[:, 6] * rng.uniform(0.5, 0.8, len(bearing))
    return np.concatenate([tubes, np.column_stack([start, start + way, radius, 0.6 * radius])])


def beside(tubes: Tubes, *, thickest_share: float, least_mm: float) -> Tubes:
    """Return airways that run along the thicker arteries, wall against wall."""
    kept = tubes[np.minimum(tubes[:, 6], tubes[:, 7]) > least_mm].copy()
    kept[:, 6:] *= thickest_share
    outward = np.where(kept[:, 2] > 0, -1.0, 1.0) * (kept[:, 6] * 2.2)
    for first in (0, 3):
        kept[:, first + 1] += outward * 0.5
        kept[:, first + 2] += outward * 0.8
    return kept


def _halve(
    rng: np.random.Generator, tips_mm: Points, members: NDArray[np.intp]
) -> list[NDArray[np.intp]]:
    places = tips_mm[members]
    centred = places - places.mean(axis=0)
    if len(members) > 3:
        _, axes = np.linalg.eigh(centred.T @ centred)
        way = axes[:, -1] + rng.normal(0, 0.25, 3)
    else:
        way = rng.normal(0, 1, 3)
    order = np.argsort(centred @ way, kind="stable")
    share = 0.5 if len(members) < 4 else rng.uniform(0.25, 0.75)
    cut = min(max(1, round(len(members) * share)), len(members) - 1)
    return [members[order[:cut]], members[order[cut:]]]


def _bent(
    rng: np.random.Generator, start: Points, end: Points, first_mm: float, last_mm: float
) -> Tubes:
    """Return a slightly curved branch in pieces of a few mm."""
    way = end - start
    length = float(np.sqrt(way @ way))
    pieces = min(max(int(length / 5), 1), 6)
    along = np.arange(pieces + 1)[:, None] / pieces
    sideways = rng.normal(0, 0.07 * length, 3)
    points = start + way * along + sideways * (4 * along * (1 - along))
    radii = first_mm + (last_mm - first_mm) * along
    return np.concatenate([points[:-1], points[1:], radii[:-1], radii[1:]], axis=1)
