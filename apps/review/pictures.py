"""Surface images and their heat maps as PNG files for the browser."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from apps.review.access import scratch
from medvit.io.case import Case
from medvit.io.images.raster import RasterImage
from medvit.io.readers import read_image

if TYPE_CHECKING:
    from torch import nn

    from medvit.models.weights import ModelCard

LONGEST_SIDE = 2048
"""Pixels sent to the browser along the longer side; more is made smaller first."""


@lru_cache(maxsize=32)
def image_png(case: Case) -> bytes:
    """Return an image as 8-bit PNG, not larger than `LONGEST_SIDE`.

    Raises:
        ReadError: If the file cannot be read.
    """
    return _png(_pixels(case).pixels)


@lru_cache(maxsize=32)
def heat_png(case: Case, reference: str, models: Path) -> bytes:
    """Return where a model looked, as grey PNG: black nowhere, white most.

    Args:
        case: An image.
        reference: The model that made the finding, `name@version`.
        models: The workspace's folder of models.

    Raises:
        ReadError: If the image cannot be read.
        ModelError: If the model is not there any more, or was altered.
    """
    from medvit.inference.defects import judge_image

    module, card = _model(reference, models)
    return _png(judge_image(_pixels(case).pixels, module, card).heat)


def image_shape(case: Case) -> tuple[int, int]:
    """Return height and width of an image in its own pixels.

    Raises:
        ReadError: If the file cannot be read.
    """
    height, width = _pixels(case).pixels.shape[:2]
    return height, width


@lru_cache(maxsize=4)
def _pixels(case: Case) -> RasterImage:
    return read_image(case, scratch=scratch())


@lru_cache(maxsize=2)
def _model(reference: str, models: Path) -> tuple[nn.Module, ModelCard]:
    from medvit.models.weights import load_model
    from medvit.registry.registry import find_model

    return load_model(find_model(reference, task="defect", models=models).folder)


def _png(values: npt.NDArray[np.float32]) -> bytes:
    """Encode `(h, w)` or `(h, w, 3)` values in 0..1."""
    picture = Image.fromarray((np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8))
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=1)
    return stream.getvalue()
