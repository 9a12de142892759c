"""Heat laid over an image: yellow where it is weak, red where it is strong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLD = (255, 214, 64)
HOT = (226, 30, 30)
OPACITY = 0.65
"""Of the strongest heat."""

LEVELS = np.arange(256)
COLOURS = np.linspace(COLD, HOT, len(LEVELS)).round().astype(np.uint8)
OPACITIES = (OPACITY * LEVELS).round().astype(np.uint8)


def under_heat(plain: Image.Image, heat: NDArray[np.float32]) -> Image.Image:
    """Return a picture (RGB) under heat (h, w), values 0..1, which is stretched to its size."""
    grey = Image.fromarray(np.floor(heat.clip(0, 1) * 255 + 0.5).astype(np.uint8))
    levels = np.asarray(grey.resize(plain.size, Image.Resampling.BILINEAR))
    colour, opacity = Image.fromarray(COLOURS[levels]), Image.fromarray(OPACITIES[levels])
    return Image.composite(colour, plain, opacity)
