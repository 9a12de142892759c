"""What networks see of a surface image: grey and square."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812


def prepare_grey(pixels: NDArray[np.float32], *, side_px: int) -> NDArray[np.float32]:
    """Return what a network sees of an image: grey and square.

    Args:
        pixels: Shape (h, w, 3), values 0..1.
        side_px: Side of the result; the aspect ratio is not kept.

    Returns:
        Shape (side, side), values 0..1: the mean of the channels, resized by
        antialiased bilinear interpolation when the size differs.
    """
    grey = torch.from_numpy(pixels.mean(axis=2, dtype=np.float32))
    if grey.shape != (side_px, side_px):
        size = (side_px, side_px)
        grey = F.interpolate(grey[None, None], size=size, mode="bilinear", antialias=True)[0, 0]
    return grey.clamp(0.0, 1.0).numpy()
