"""How an image of any size is shown to a detector of boxes: scaled, never squeezed, padded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812

from medvit.data.grey import Channels

Planes = NDArray[np.float32]
Boxes = NDArray[np.float64]
"""x_min, y_min, x_max, y_max in pixels, 0-based and half-open, shape (k, 4)."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """An image as a network sees it.

    Attributes:
        planes: (1 or 3, h, w), 0..1.
        scale: Pixels of `planes` for one pixel of the image.
        shown: Height and width that the image takes of it, from the upper left.
    """

    planes: Planes
    scale: float
    shown: tuple[int, int]


def fit_canvas(
    pixels: NDArray[np.float32], *, side_px: int, channels: Channels, multiple_px: int
) -> Canvas:
    """Return an image whose longer side became `side_px`, on a ground of its own mean.

    Args:
        pixels: (h, w, 3), 0..1.
        side_px: Longer side of the scaled image.
        channels: `grey` for their mean, or `colour`.
        multiple_px: Sides of the canvas are the next multiples of it, `side_px` at the most.
    """
    height, width = pixels.shape[:2]
    scale = side_px / max(height, width)
    shown = (max(1, round(height * scale)), max(1, round(width * scale)))
    planes = pixels.transpose(2, 0, 1)
    if channels == "grey":
        planes = planes.mean(axis=0, keepdims=True, dtype=np.float32)
    if shown != (height, width):
        source = torch.from_numpy(np.ascontiguousarray(planes))[None]
        scaled = F.interpolate(source, size=shown, mode="bilinear", antialias=True)
        planes = scaled[0].clamp(0.0, 1.0).numpy()
    gaps = [min(-side % multiple_px, side_px - side) for side in shown]
    if any(gaps):
        ground = planes.mean(axis=(1, 2), keepdims=True)
        size = (len(planes), shown[0] + gaps[0], shown[1] + gaps[1])
        canvas = np.broadcast_to(ground, size).copy()
        canvas[:, : shown[0], : shown[1]] = planes
        planes = canvas
    return Canvas(np.ascontiguousarray(planes, dtype=np.float32), scale, shown)


def original_boxes(boxes: Boxes, canvas: Canvas, *, size: tuple[int, int]) -> Boxes:
    """Return boxes of a canvas in pixels of its image, cut at the border.

    Args:
        size: Height and width of the image.

    Examples:
        >>> canvas = Canvas(np.zeros((1, 32, 32), np.float32), 0.5, (32, 32))
        >>> original_boxes(np.array([[-1.0, 2, 10, 40]]), canvas, size=(64, 64)).tolist()
        [[0.0, 4.0, 20.0, 64.0]]
    """
    height, width = size
    limits = np.array([width, height, width, height], dtype=np.float64)
    inside: Boxes = np.clip(boxes / canvas.scale, 0.0, limits)
    return inside
