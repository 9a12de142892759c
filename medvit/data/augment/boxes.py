"""Random views of images that take their boxes along: drawn first, then applied.

Flips, scale, place, brightness, contrast and noise; no two images are ever mixed, and a view
shows at least one of the boxes that its image has.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
Image = NDArray[np.uint8]

ATTEMPTS = 10
GREY_LEVELS = 255.0


@dataclass(frozen=True, slots=True)
class BoxViewSettings:
    """How much a view may differ from its image.

    Attributes:
        least_scale: Smallest magnification; below 1 the image has a rim of its mean.
        most_scale: Largest magnification.
        least_shown: Share of a box that must be shown for the box to stay.
        contrast: Largest relative change of contrast.
        brightness: Largest shift, as a share of the grey range.
        noise_std: Largest sd of added noise, as a share of the grey range.
        flips: Mirror left and right, and up and down.
        turns: Also swap rows and columns: only for parts without direction.
    """

    least_scale: float = 0.75
    most_scale: float = 1.5
    least_shown: float = 0.4
    contrast: float = 0.3
    brightness: float = 0.1
    noise_std: float = 0.02
    flips: bool = True
    turns: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.least_scale <= self.most_scale or not 0 < self.least_shown <= 1:
            msg = (
                "a view needs 0 < least_scale <= most_scale and least_shown in 0..1, got "
                f"{self.least_scale}, {self.most_scale} and {self.least_shown}"
            )
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class BoxView:
    """One draw.

    Attributes:
        scale: Magnification.
        left: Where the left edge of the image comes to lie in the view, pixels; `top` likewise.
        top: As `left`.
        mirrored: Left and right, then up and down, before the image is placed.
        turned: Rows and columns are swapped before that.
        gain: Contrast is multiplied by it.
        shift: Added to grey values 0..1.
        noise_std: Sd of the noise, in grey values 0..1.
        noise_seed: Of the noise.
    """

    scale: float = 1.0
    left: float = 0.0
    top: float = 0.0
    mirrored: tuple[bool, bool] = (False, False)
    turned: bool = False
    gain: float = 1.0
    shift: float = 0.0
    noise_std: float = 0.0
    noise_seed: int = 0


class BoxViews:
    """Draws views of images and their boxes; the same generator gives the same view."""

    def __init__(self, settings: BoxViewSettings) -> None:
        self.settings = settings

    def view(
        self, image: Image, boxes: Boxes, *, rng: np.random.Generator
    ) -> tuple[Image, Boxes, NDArray[np.intp]]:
        """Return a view of an image (h, w) or (h, w, 3), boxes, and which they are.

        A turned view has the height and width of the image swapped. Where no draw shows a
        box that is there, the image is only mirrored.
        """
        size = (image.shape[0], image.shape[1])
        for _ in range(ATTEMPTS):
            drawn = draw_view(self.settings, size_px=size, rng=rng)
            least = self.settings.least_shown
            seen, which = view_boxes(boxes, drawn, size_px=size, least_shown=least)
            if len(which) or not len(boxes):
                return apply_view(image, drawn), seen, which
        plain = BoxView(mirrored=drawn.mirrored, turned=drawn.turned)
        seen, which = view_boxes(boxes, plain, size_px=size, least_shown=1e-9)
        return apply_view(image, plain), seen, which


def draw_view(
    settings: BoxViewSettings, *, size_px: tuple[int, int], rng: np.random.Generator
) -> BoxView:
    """Draw a view of an image of (height, width)."""
    low, high = np.log(settings.least_scale), np.log(settings.most_scale)
    scale = float(np.exp(rng.uniform(low, high)))
    place, flips = rng.random(2), rng.random(3) < 0.5
    is_turned = bool(flips[2] and settings.turns)
    height, width = size_px[::-1] if is_turned else size_px
    # Negative where the image is larger than the view.
    left, top = (1 - scale) * np.array([width, height]) * (place if scale < 1 else 1 - place)
    return BoxView(
        scale=scale,
        left=float(left),
        top=float(top),
        mirrored=(bool(flips[0] and settings.flips), bool(flips[1] and settings.flips)),
        turned=is_turned,
        gain=float(1 + rng.uniform(-settings.contrast, settings.contrast)),
        shift=float(rng.uniform(-settings.brightness, settings.brightness)),
        noise_std=float(rng.uniform(0, settings.noise_std)),
        noise_seed=int(rng.integers(2**31)),
    )


def apply_view(image: Image, view: BoxView) -> Image:
    """Return the view of an image, of the same size; a turned one has its sides swapped."""
    turned = np.swapaxes(image, 0, 1) if view.turned else image
    mirrored = turned[:: -1 if view.mirrored[1] else 1, :: -1 if view.mirrored[0] else 1]
    grey = np.ascontiguousarray(mirrored, dtype=np.float32) / GREY_LEVELS
    mean = grey.mean(axis=(0, 1))
    # Half a pixel: edges are scaled, while the warp counts from the middle of a pixel.
    half = (view.scale - 1) / 2
    matrix = np.array([[view.scale, 0, view.left + half], [0, view.scale, view.top + half]])
    placed = cv2.warpAffine(
        grey,
        matrix,
        (grey.shape[1], grey.shape[0]),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=[float(value) for value in np.atleast_1d(mean)],
    )
    if view.gain != 1 or view.shift:
        placed = mean + view.gain * (placed - mean) + view.shift
    if view.noise_std:
        noise = np.random.default_rng(view.noise_seed).standard_normal(
            placed.shape, dtype=np.float32
        )
        placed = placed + view.noise_std * noise
    levels: Image = np.clip(np.rint(placed * GREY_LEVELS), 0, GREY_LEVELS).astype(np.uint8)
    return levels


def view_boxes(
    boxes: Boxes, view: BoxView, *, size_px: tuple[int, int], least_shown: float
) -> tuple[Boxes, NDArray[np.intp]]:
    """Return the boxes (m, 4) that a view shows, cut at its border, and their indices (m,).

    Args:
        boxes: Of the image (k, 4).
        size_px: Height and width of the image.
        least_shown: A box of which less is shown is left out.

    Examples:
        >>> box = np.array([[0.0, 0.0, 4.0, 2.0]])
        >>> view = BoxView(scale=2.0, left=-4.0, mirrored=(False, True))
        >>> view_boxes(box, view, size_px=(8, 8), least_shown=0.5)[0].tolist()
        []
        >>> mirrored = BoxView(mirrored=(True, False))
        >>> view_boxes(box, mirrored, size_px=(8, 10), least_shown=0.5)[0].tolist()
        [[6.0, 0.0, 10.0, 2.0]]
    """
    x0, y0, x1, y1 = boxes.T
    height, width = size_px
    if view.turned:
        x0, y0, x1, y1 = y0, x0, y1, x1
        height, width = width, height
    if view.mirrored[0]:
        x0, x1 = width - x1, width - x0
    if view.mirrored[1]:
        y0, y1 = height - y1, height - y0
    offset = np.array([view.left, view.top] * 2)
    placed = np.stack([x0, y0, x1, y1], axis=1) * view.scale + offset
    cut = np.clip(placed, 0, [width, height] * 2)
    whole = np.prod(placed[:, 2:] - placed[:, :2], axis=1)
    shares = np.prod(cut[:, 2:] - cut[:, :2], axis=1) / whole
    which = np.flatnonzero(shares >= least_shown)
    return cut[which], which
