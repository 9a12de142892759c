"""A few random changes from a fixed list, for images of surfaces.

Cubuk 2019, arXiv 1909.13719, without what turns a defect into another one: no solarising, no
posterising, no inversion, and no change of hue; saturation only where there is colour. Drawing
and applying are two functions, so that a draw can be stored and replayed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
TOP_MAGNITUDE = 10.0
SPREAD = 0.5
"""Standard deviation of the magnitude of one operation about the common one."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One drawn change: its name in `OPERATIONS`, and its strength from -1 to 1."""

    name: str
    strength: float


def draw_operations(
    rng: np.random.Generator, *, count: int, magnitude: float, is_colour: bool
) -> tuple[Operation, ...]:
    """Draw operations with replacement, all of about one magnitude, each to either side.

    Args:
        count: Operations an image.
        magnitude: 0 leaves an image as it is, 10 is the strongest.
        is_colour: Whether saturation is among the operations.
    """
    names = [name for name in OPERATIONS if is_colour or name != "saturation"]
    drawn = []
    for name in rng.choice(names, size=count):
        strength = np.clip(rng.normal(magnitude, SPREAD), 0, TOP_MAGNITUDE) / TOP_MAGNITUDE
        drawn.append(Operation(str(name), float(strength * rng.choice((-1, 1)))))
    return tuple(drawn)


def apply_operations(image: Image, operations: tuple[Operation, ...]) -> Image:
    """Return an image (h, w) or (h, w, 3) after the operations, one after another."""
    for operation in operations:
        image = OPERATIONS[operation.name](image, operation.strength)
    return image


def _warp(image: Image, matrix: list[list[float]]) -> Image:
    """Move pixels by an affine map about the centre; borders are mirrored, never black."""
    h, w = image.shape[:2]
    centre = np.array([(w - 1) / 2, (h - 1) / 2])
    linear = np.array(matrix)[:, :2]
    shift = centre - linear @ centre + np.array(matrix)[:, 2] * (w, h)
    affine = np.column_stack([linear, shift])
    moved = cv2.warpAffine(
        image, affine, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return moved.astype(np.uint8)


def _rotate(image: Image, strength: float) -> Image:
    angle = np.deg2rad(30 * strength)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    return _warp(image, [[cos, -sin, 0], [sin, cos, 0]])


def _shear_x(image: Image, strength: float) -> Image:
    return _warp(image, [[1, 0.3 * strength, 0], [0, 1, 0]])


def _shear_y(image: Image, strength: float) -> Image:
    return _warp(image, [[1, 0, 0], [0.3 * strength, 1, 0]])


def _translate_x(image: Image, strength: float) -> Image:
    return _warp(image, [[1, 0, 0.25 * strength], [0, 1, 0]])


def _translate_y(image: Image, strength: float) -> Image:
    return _warp(image, [[1, 0, 0], [0, 1, 0.25 * strength]])


def _blend(image: Image, other: NDArray[np.float32], strength: float) -> Image:
    """Move an image away from another by a share of their difference, or towards it."""
    own = image.astype(np.float32)
    changed: Image = np.clip(np.rint(own + strength * (own - other)), 0, 255).astype(np.uint8)
    return changed


def _brightness(image: Image, strength: float) -> Image:
    return _blend(image, np.zeros(image.shape, np.float32), 0.4 * strength)


def _contrast(image: Image, strength: float) -> Image:
    return _blend(image, np.full(image.shape, image.mean(), np.float32), 0.6 * strength)


def _sharpness(image: Image, strength: float) -> Image:
    return _blend(image, cv2.GaussianBlur(image, (0, 0), 1.0).astype(np.float32), 0.9 * strength)


def _gamma(image: Image, strength: float) -> Image:
    levels = (np.arange(256) / 255.0) ** (2.0**-strength)
    changed: Image = np.rint(255 * levels).astype(np.uint8)[image]
    return changed


def _saturation(image: Image, strength: float) -> Image:
    grey = np.repeat(image.mean(axis=2, keepdims=True, dtype=np.float32), 3, axis=2)
    return _blend(image, grey, 0.7 * strength)


OPERATIONS: dict[str, Callable[[Image, float], Image]] = {
    "rotate": _rotate,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "brightness": _brightness,
    "contrast": _contrast,
    "sharpness": _sharpness,
    "gamma": _gamma,
    "saturation": _saturation,
}
