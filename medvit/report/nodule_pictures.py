"""Pictures of a nodule search for people who watch a training: slices with marks, FROC curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Rgb = NDArray[np.uint8]  # (y, x, 3)

LOW_HU, HIGH_HU = -1000.0, 200.0
INK, PAPER, GRID, CURVE = "#1d2733", "#ffffff", "#dde3e8", "#0b6e99"
TRUTH, MARK = "#27c26b", "#ff9d2e"
SIDE_PX, LEFT_PX, BELOW_PX = 360, 44, 34


@dataclass(frozen=True, slots=True)
class Ring:
    """A place on a slice.

    Attributes:
        centre_px: (x, y).
        diameter_px: Of the ring, which is drawn a little larger.
        text: Beside it; empty for none.
        is_truth: Whether somebody knows that a nodule is there; else the detector says so.
    """

    centre_px: tuple[float, float]
    diameter_px: float
    text: str = ""
    is_truth: bool = False


def slice_picture(hu: NDArray[np.floating], rings: Sequence[Ring]) -> Rgb:
    """Return a slice (y, x) with what is known (green) and what is marked (orange)."""
    grey = np.clip((hu - LOW_HU) / (HIGH_HU - LOW_HU), 0, 1) * 255
    image = Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")
    pen = ImageDraw.Draw(image)
    for ring in rings:
        x, y = ring.centre_px
        reach = ring.diameter_px / 2 + (4 if ring.is_truth else 7)
        colour = TRUTH if ring.is_truth else MARK
        pen.ellipse((x - reach, y - reach, x + reach, y + reach), outline=colour, width=2)
        if ring.text:
            pen.text((x + reach + 3, y - 6), ring.text, fill=colour)
    return np.asarray(image)


def froc_picture(fp_per_scan: Sequence[float], sensitivity: Sequence[float], *, title: str) -> Rgb:
    """Return the curve of sensitivity (0 to 1) over false marks a scan, on a scale of doublings.

    Args:
        fp_per_scan: Rising and positive.
        sensitivity: At each of them.
        title: Above the curve.
    """
    image = Image.new("RGB", (LEFT_PX + SIDE_PX + 16, SIDE_PX + BELOW_PX + 24), PAPER)
    pen = ImageDraw.Draw(image)
    low, high = math.log2(fp_per_scan[0]), math.log2(fp_per_scan[-1])

    def x_of(rate: float) -> float:
        return LEFT_PX + (math.log2(rate) - low) / max(high - low, 1e-9) * SIDE_PX

    def y_of(share: float) -> float:
        return 24 + (1 - share) * SIDE_PX

    pen.text((LEFT_PX, 6), title, fill=INK)
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        pen.line((LEFT_PX, y_of(share), LEFT_PX + SIDE_PX, y_of(share)), fill=GRID)
        pen.text((12, y_of(share) - 6), f"{share:.1f}", fill=INK)
    for rate in fp_per_scan:
        pen.line((x_of(rate), y_of(0), x_of(rate), y_of(1)), fill=GRID)
        pen.text((x_of(rate) - 10, y_of(0) + 5), f"{rate:g}", fill=INK)
    points = [
        (x_of(rate), y_of(share)) for rate, share in zip(fp_per_scan, sensitivity, strict=True)
    ]
    pen.line(points, fill=CURVE, width=3, joint="curve")
    for x, y in points:
        pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=CURVE)
    pen.text((LEFT_PX + SIDE_PX / 2 - 60, y_of(0) + 19), "false marks a scan", fill=INK)
    return np.asarray(image)
