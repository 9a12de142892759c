"""What a surface looks like without any training: local binary patterns, tones and slopes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RINGS = ((8, 1), (8, 2), (16, 3))
"""Points and radius in pixels of each ring of neighbours."""

BINS = 16
STEEPEST = 64.0
"""Grey levels a pixel from which all slopes count alike."""


def texture_features(grey: NDArray[np.uint8]) -> Floats:
    """Return the features (70,) of a grey image (h, w), each part a histogram's square root.

    Uniform patterns that do not change when the image is turned (Ojala 2002, IEEE TPAMI 24),
    on three rings, and histograms of grey levels and of slopes. The square root makes the
    distance of two features Hellinger's.

    Raises:
        ValueError: If the image is no grey one, or smaller than 8 pixels a side.
    """
    from skimage.feature import local_binary_pattern  # noqa: PLC0415 - slow to import

    if grey.ndim != 2 or min(grey.shape) < 8:
        msg = f"texture is measured on grey images of at least 8 px a side, got {grey.shape}"
        raise ValueError(msg)
    parts = []
    for points, radius in RINGS:
        codes = local_binary_pattern(  # type: ignore[no-untyped-call]
            grey, points, radius, method="uniform"
        )
        counts = np.bincount(codes.astype(np.intp).ravel(), minlength=points + 2)
        parts.append(counts / grey.size)
    values = grey.astype(np.float64)
    slope = np.hypot(*np.gradient(values))
    for levels, top in ((values, 256.0), (np.minimum(slope, STEEPEST - 1e-9), STEEPEST)):
        parts.append(np.histogram(levels, bins=BINS, range=(0, top))[0] / grey.size)
    found: Floats = np.sqrt(np.concatenate(parts))
    return found
