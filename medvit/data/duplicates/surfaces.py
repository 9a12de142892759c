"""Images as the search for duplicates sees them: decoded once, grey, small, with a hash."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from medvit.errors import ReadError
from medvit.io.images.raster import inspect_image
from medvit.io.images.samples import Samples, read_samples

FINE_PX = 256
"""Longer side at which overlaps are measured; a 200 px image is measured as it is."""

LARGEST_PX = 512
"""An image much larger than the others is reduced to this, and compared as a whole."""

Progress = Callable[[float, float, str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """One readable image.

    Attributes:
        path: As the manifest names it.
        sha256: Of shape and samples; grey and the same grey as colour are alike.
        grey: uint8, shape (y, x), reduced by `step`.
        step: Pixels of the file a side of a pixel of `grey`.
        shape: `(height, width)` of the file, upright.
        is_colour: Whether the channels differ.
    """

    path: str
    sha256: str
    grey: NDArray[np.uint8]
    step: int
    shape: tuple[int, int]
    is_colour: bool


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An image that was left out, and why."""

    path: str
    reason: str
    message: str


def read_surfaces(
    root: Path, paths: Sequence[str], *, progress: Progress | None = None
) -> tuple[list[Surface], list[Unreadable]]:
    """Read images, each decoded once; memory holds one whole image and the reduced rest.

    All images are reduced by one whole number, so that overlapping crops keep one scale.
    """
    sizes: dict[str, tuple[int, int]] = {}
    broken: list[Unreadable] = []
    for path in paths:
        try:
            look = inspect_image(root / path)
        except ReadError as error:
            broken.append(Unreadable(path, error.reason, error.message))
        else:
            sizes[path] = (look.height, look.width)
    usual = median(max(size) for size in sizes.values()) if sizes else FINE_PX
    step = max(1, math.ceil(usual / FINE_PX))
    surfaces: list[Surface] = []
    for number, (path, size) in enumerate(sizes.items()):
        if progress is not None:
            progress(number, len(sizes), path)
        try:
            samples = read_samples(root / path)
        except ReadError as error:
            broken.append(Unreadable(path, error.reason, error.message))
        else:
            own = max(step, math.ceil(max(size) / LARGEST_PX))
            surfaces.append(_surface(path, samples, step=own))
    return surfaces, broken


def _surface(path: str, samples: Samples, *, step: int) -> Surface:
    values = samples.values
    is_colour = values.ndim == 3 and not _channels_agree(values)
    if values.ndim == 3 and not is_colour:
        values = np.ascontiguousarray(values[:, :, 0])
    digest = hashlib.sha256(f"{values.shape}{values.dtype}".encode())
    digest.update(np.ascontiguousarray(values).data)
    grey = reduce_grey(values, step=step, full_scale=samples.full_scale)
    height, width = values.shape[:2]
    return Surface(path, digest.hexdigest(), grey, step, (height, width), is_colour)


def _channels_agree(values: NDArray[np.generic]) -> bool:
    first = values[:, :, 0]
    return all(np.array_equal(first, values[:, :, channel]) for channel in (1, 2))


def reduce_grey(values: NDArray[np.generic], *, step: int, full_scale: float) -> NDArray[np.uint8]:
    """Return the mean over channels and blocks of `step` pixels as 0..255; rests are cut off.

    Examples:
        >>> reduce_grey(np.array([[0, 4], [8, 12]], np.uint8), step=2, full_scale=255.0)
        array([[6]], dtype=uint8)
    """
    step = max(1, min(step, *values.shape[:2]))
    rows, columns = (length // step for length in values.shape[:2])
    grey = np.empty((rows, columns), np.uint8)
    for row in range(rows):  # row by row: a large image is never held twice as floats
        strip = values[row * step : (row + 1) * step, : columns * step].astype(np.float32)
        strip = strip.reshape(step, columns, step, -1)
        grey[row] = np.floor(strip.mean(axis=(0, 2, 3)) * (255.0 / full_scale) + 0.5)
    return grey
