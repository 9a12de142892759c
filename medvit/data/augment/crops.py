"""Crops at several scales, and boxes that follow them; a crop keeps what was labelled."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

ATTEMPTS = 20
GLOBAL_AREA = (0.4, 1.0)
LOCAL_AREA = (0.05, 0.4)
"""Shares of the image: global crops show the part, local ones a piece of its surface."""

Boxes = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Crop:
    """A half-open rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


def draw_crop(
    size: tuple[int, int],
    *,
    area: tuple[float, float],
    rng: np.random.Generator,
    boxes: Boxes | None = None,
    kept: float = 0.5,
) -> Crop:
    """Draw a crop that keeps a share of at least one box; the whole image if none does.

    Args:
        size: Height and width of the image.
        area: Smallest and largest share of the image.
        boxes: Labelled defects (k, 4) as x_min, y_min, x_max, y_max in pixels; None or empty:
            any crop will do.
        kept: Share of a box's own area that must stay for the label to be true.
    """
    height, width = size
    for _ in range(ATTEMPTS):
        share = rng.uniform(*area)
        ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        h, w = (
            round(side * factor)
            for side, factor in ((height, np.sqrt(share / ratio)), (width, np.sqrt(share * ratio)))
        )
        if not (0 < h <= height and 0 < w <= width):
            continue
        crop = Crop(int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w)
        if boxes is None or not len(boxes) or float(kept_shares(boxes, crop).max()) >= kept:
            return crop
    return Crop(0, 0, height, width)


def kept_shares(boxes: Boxes, crop: Crop) -> NDArray[np.float64]:
    """Return the share of each box's area inside a crop, shape (k,).

    Examples:
        >>> kept_shares(np.array([[0.0, 0.0, 4.0, 2.0]]), Crop(0, 2, 8, 8))
        array([0.5])
    """
    inside = _inside(boxes, crop)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    shares: NDArray[np.float64] = np.prod(inside[:, 2:] - inside[:, :2], axis=1) / areas
    return shares


def apply_crop(image: NDArray[np.uint8], crop: Crop, *, side_px: int) -> NDArray[np.uint8]:
    """Return the crop of an image (h, w) or (h, w, 3), resized to a square."""
    piece = image[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    shrinks = side_px < min(piece.shape[:2])
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(piece, (side_px, side_px), interpolation=how).astype(np.uint8)


def crop_boxes(boxes: Boxes, crop: Crop, *, side_px: int) -> Boxes:
    """Return the boxes that a crop shows, cut at its border, in pixels of the square."""
    shown = _inside(boxes, crop)[kept_shares(boxes, crop) > 0]
    offset = np.array([crop.left, crop.top] * 2)
    scaled: Boxes = (shown - offset) * side_px / np.array([crop.width, crop.height] * 2)
    return scaled


def multi_scale_crops(
    image: NDArray[np.uint8], *, sides_px: tuple[int, int], local: int, rng: np.random.Generator
) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """Return two global crops and some local ones, for losses that match views of one image.

    Caron 2020, arXiv 2006.09882. Local crops may miss the defect: not for labelled images.

    Args:
        sides_px: Side of global and of local crops.
        local: Number of local crops.
    """
    size = (image.shape[0], image.shape[1])
    wide = [draw_crop(size, area=GLOBAL_AREA, rng=rng) for _ in range(2)]
    near = [draw_crop(size, area=LOCAL_AREA, rng=rng) for _ in range(local)]
    return (
        [apply_crop(image, crop, side_px=sides_px[0]) for crop in wide],
        [apply_crop(image, crop, side_px=sides_px[1]) for crop in near],
    )


def _inside(boxes: Boxes, crop: Crop) -> Boxes:
    low = np.array([crop.left, crop.top] * 2, dtype=np.float64)
    high = low + np.array([crop.width, crop.height] * 2)
    return np.clip(boxes, low, high)
