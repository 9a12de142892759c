"""Whether two readers mean the same place, and the middle of what they mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from medvit.labels.opinions import Geometry

LEAST_OVERLAP = 0.5
"""Boxes whose intersection is this share of their union are one."""

BOX = ("x_min", "y_min", "x_max", "y_max")
SPHERE = ("x_mm", "y_mm", "z_mm", "diameter_mm")


def is_box(geometry: Geometry) -> bool:
    """Whether a place is a box in an image, not a sphere in a scan."""
    return "x_min" in geometry


def is_same_place(first: Geometry, second: Geometry) -> bool:
    """Whether two boxes overlap by half, or the centre of one sphere lies inside the other.

    Examples:
        >>> a = {"x_min": 0, "y_min": 0, "x_max": 4, "y_max": 4}
        >>> is_same_place(a, {**a, "x_max": 8}), is_same_place(a, {**a, "x_max": 9})
        (True, False)
    """
    if is_box(first) != is_box(second):
        return False
    if is_box(first):
        return _overlap(first, second) >= LEAST_OVERLAP
    apart = math.dist(*([place[axis] for axis in SPHERE[:3]] for place in (first, second)))
    return apart <= max(first["diameter_mm"], second["diameter_mm"]) / 2


def middle(places: Sequence[Geometry]) -> dict[str, float]:
    """Return the place in the middle: the median of each coordinate, of boxes whole pixels.

    Examples:
        >>> boxes = [{"x_min": x, "y_min": 0, "x_max": 9, "y_max": 9} for x in (1, 2, 6)]
        >>> middle(boxes)["x_min"]
        2
    """
    names = BOX if is_box(places[0]) else SPHERE
    values = {name: median(place[name] for place in places) for name in names}
    return {name: round(value) for name, value in values.items()} if names is BOX else values


def _overlap(first: Geometry, second: Geometry) -> float:
    sides = (
        max(0.0, min(first[high], second[high]) - max(first[low], second[low]))
        for low, high in (("x_min", "x_max"), ("y_min", "y_max"))
    )
    both = math.prod(sides)
    areas = [(b["x_max"] - b["x_min"]) * (b["y_max"] - b["y_min"]) for b in (first, second)]
    union = sum(areas) - both
    return both / union if union > 0 else 0.0
