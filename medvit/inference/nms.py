"""Non-maximum suppression of point detections: one mark for one nodule."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def suppress_near(centres_mm: Floats, diameters_mm: Floats, scores: Floats) -> NDArray[np.intp]:
    """Return the indices of the marks to keep, best first.

    A mark is dropped when a better kept one is nearer than the larger of their
    two radii. Equal scores go by x, y, z and diameter, so neither the order of
    the input nor how it was batched changes the outcome.

    Args:
        centres_mm: (n, 3) in mm; a distance in voxels would depend on the axis.
        diameters_mm: (n,).
        scores: (n,), higher is better.

    Raises:
        ValueError: If the lengths differ or a number is not finite.

    Examples:
        >>> centres = np.array([[0.0, 0, 0], [3, 0, 0], [9, 0, 0]])
        >>> suppress_near(centres, np.array([4.0, 8, 4]), np.array([0.5, 0.9, 0.7])).tolist()
        [1, 2]
    """
    _check(centres_mm, diameters_mm, scores)
    x, y, z = centres_mm.T
    waiting = np.lexsort((diameters_mm, z, y, x, -scores))
    kept: list[int] = []
    while waiting.size:
        best, rest = waiting[0], waiting[1:]
        kept.append(int(best))
        distance_mm = np.linalg.norm(centres_mm[rest] - centres_mm[best], axis=1)
        larger_radius_mm = np.maximum(diameters_mm[rest], diameters_mm[best]) / 2
        waiting = rest[distance_mm >= larger_radius_mm]
    return np.array(kept, dtype=np.intp)


def _check(centres_mm: Floats, diameters_mm: Floats, scores: Floats) -> None:
    count = len(scores)
    if centres_mm.shape != (count, 3) or diameters_mm.shape != (count,):
        msg = (
            f"{count} scores need as many centres and diameters, got shapes "
            f"{centres_mm.shape} and {diameters_mm.shape}"
        )
        raise ValueError(msg)
    for name, values in (
        ("centres", centres_mm),
        ("diameters", diameters_mm),
        ("scores", scores),
    ):
        if not np.isfinite(values).all():
            msg = f"{name} must be finite, got {values[~np.isfinite(values)][0]}"
            raise ValueError(msg)
