"""Small pictures of images that two models disagree about."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medvit.report.thumbnails import JPEG_QUALITY, data_uri

SIDE_PX = 200


def image_thumbnail(pixels: NDArray[np.float32]) -> str:
    """Return an image as a JPEG data URI whose longer side is 200 px.

    Args:
        pixels: (h, w, 3) in 0..1.
    """
    image = Image.fromarray(np.round(pixels.clip(0, 1) * 255).astype(np.uint8))
    scale = SIDE_PX / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    stream = io.BytesIO()
    image.resize((width, height), Image.Resampling.LANCZOS).save(
        stream, "JPEG", quality=JPEG_QUALITY
    )
    return data_uri(stream.getvalue())
