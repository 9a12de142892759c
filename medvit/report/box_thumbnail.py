"""A small picture of an image beside itself with its boxes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medvit.report.thumbnails import GAP_PX, IMAGE_PX, JPEG_QUALITY, MARK, PAPER, data_uri

Box = tuple[int, int, int, int]


def box_thumbnail(pixels: NDArray[np.float32], boxes: Sequence[Box]) -> str:
    """Return an image beside itself with its boxes, as a data URI.

    Args:
        pixels: (h, w, 3) in 0..1, of any size; nothing of that size is copied.
        boxes: `(x_min, y_min, x_max, y_max)` in pixels, half-open.
    """
    plain = _shrunk(pixels)
    marked = plain.copy()
    scale = marked.width / pixels.shape[1]
    for box in boxes:
        x0, y0, x1, y1 = (edge * scale for edge in box)
        corners = (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1))
        ImageDraw.Draw(marked).rectangle(corners, outline=MARK, width=1)
    pair = Image.new("RGB", (2 * plain.width + GAP_PX, plain.height), PAPER)
    pair.paste(plain, (0, 0))
    pair.paste(marked, (plain.width + GAP_PX, 0))
    stream = io.BytesIO()
    pair.save(stream, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return data_uri(stream.getvalue())


def _shrunk(pixels: NDArray[np.float32]) -> Image.Image:
    """Return an image whose longer side is `IMAGE_PX`; large ones are averaged in blocks."""
    height, width = pixels.shape[:2]
    scale = IMAGE_PX / max(height, width)
    step = max(1, min(max(height, width) // (2 * IMAGE_PX), height, width))
    rows, columns = height // step, width // step
    blocks = pixels[: rows * step, : columns * step].reshape(rows, step, columns, step, 3)
    levels = np.rint(blocks.mean(axis=(1, 3)).clip(0, 1) * 255).astype(np.uint8)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Image.fromarray(levels).resize(size, Image.Resampling.LANCZOS)
