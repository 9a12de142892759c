"""A picture of an explanation: what was seen, and beside it the same under its heat map."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medvit.report.heat import under_heat
from medvit.report.thumbnails import GAP_PX, PAPER

SIDE_PX = 480


def heat_pair(pixels: NDArray[np.float32], heat: NDArray[np.float32]) -> bytes:
    """Return an image beside itself under its heat map, as PNG.

    Args:
        pixels: (h, w, 3) in 0..1.
        heat: (h, w) in 0..1.

    Raises:
        ValueError: If image and heat map differ in size.
    """
    if heat.shape != pixels.shape[:2]:
        msg = f"heat map {heat.shape} does not cover the image {pixels.shape[:2]}"
        raise ValueError(msg)
    plain = _fitted(pixels.clip(0, 1) * 255)
    pair = Image.new("RGB", (2 * plain.width + GAP_PX, plain.height), PAPER)
    pair.paste(plain, (0, 0))
    pair.paste(under_heat(plain, heat), (plain.width + GAP_PX, 0))
    stream = io.BytesIO()
    pair.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _fitted(rgb: NDArray[np.float32]) -> Image.Image:
    height, width = rgb.shape[:2]
    scale = SIDE_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(np.floor(rgb + 0.5).astype(np.uint8))
    return image.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC)
