"""Non-maximum suppression: one mark for one nodule, one box for one defect."""

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


def suppress_overlaps(boxes: Floats, scores: Floats, *, iou: float) -> NDArray[np.intp]:
    """Return the indices of the boxes to keep, best first.

    A box is dropped when it overlaps a better kept one by more than `iou`. Equal scores go
    by corners, so neither the order of the input nor how it was batched changes the outcome.

    Args:
        boxes: x_min, y_min, x_max, y_max (n, 4), of one class.
        scores: (n,), higher is better.
        iou: Intersection over union that two kept boxes may have.

    Raises:
        ValueError: If the lengths differ or a number is not finite.

    Examples:
        >>> boxes = np.array([[0.0, 0, 4, 4], [1, 0, 5, 4], [8, 0, 12, 4]])
        >>> suppress_overlaps(boxes, np.array([0.5, 0.9, 0.7]), iou=0.5).tolist()
        [1, 2]
    """
    _check_boxes(boxes, scores)
    x0, y0, x1, y1 = boxes.T
    areas = (x1 - x0) * (y1 - y0)
    waiting = np.lexsort((y1, x1, y0, x0, -scores))
    kept: list[int] = []
    while waiting.size:
        best, rest = waiting[0], waiting[1:]
        kept.append(int(best))
        wide = np.minimum(x1[rest], x1[best]) - np.maximum(x0[rest], x0[best])
        high = np.minimum(y1[rest], y1[best]) - np.maximum(y0[rest], y0[best])
        shared = np.maximum(wide, 0) * np.maximum(high, 0)
        union = areas[rest] + areas[best] - shared
        waiting = rest[shared <= iou * union]
    return np.array(kept, dtype=np.intp)


def _check_boxes(boxes: Floats, scores: Floats) -> None:
    if boxes.shape != (len(scores), 4):
        msg = f"{len(scores)} scores need as many boxes of four edges, got shape {boxes.shape}"
        raise ValueError(msg)
    for name, values in (("boxes", boxes), ("scores", scores)):
        if not np.isfinite(values).all():
            msg = f"{name} must be finite, got {values[~np.isfinite(values)][0]}"
            raise ValueError(msg)


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
