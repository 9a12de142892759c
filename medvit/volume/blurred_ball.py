"""An even ball as a scanner with Gaussian blur shows it, and back from there to the ball."""

from __future__ import annotations

from functools import cache
from math import erf, exp, pi, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SMALLEST, LARGEST, POINTS = 0.5, 40.0, 400
"""Radii of the table, in standard deviations of the blur."""


def profile(away: float, radius: float) -> float:
    """Return the contrast of a blurred ball at a distance from its centre.

    The ball has contrast 1, lengths are in standard deviations of the blur. Closed form of
    the convolution of a ball with a Gaussian.

    Examples:
        >>> round(profile(0.0, 3.0), 3), round(profile(10.0, 10.0), 3)
        (0.971, 0.46)
    """
    if away < 1e-6:
        return erf(radius / sqrt(2)) - sqrt(2 / pi) * radius * exp(-(radius**2) / 2)
    near, far = radius - away, radius + away
    steps = (erf(near / sqrt(2)) + erf(far / sqrt(2))) / 2
    return steps - (exp(-(near**2) / 2) - exp(-(far**2) / 2)) / (away * sqrt(2 * pi))


def sharpened(half_mm: float, sigma_mm: float) -> float:
    """Return the radius of the ball whose blurred image has half of its peak this far out.

    Examples:
        >>> round(sharpened(10.0, 0.5), 1), round(sharpened(1.5, 0.6), 1)
        (10.0, 1.7)
    """
    radii, halves = _table()
    return float(np.interp(half_mm / sigma_mm, halves, radii, right=half_mm / sigma_mm)) * sigma_mm


def recovery(radius_mm: float, sigma_mm: float) -> float:
    """Return the share of a ball's contrast that is left in its centre.

    Examples:
        >>> round(recovery(5.0, 0.6), 2), round(recovery(1.5, 0.9), 2)
        (1.0, 0.57)
    """
    return profile(0.0, radius_mm / sigma_mm)


@cache
def _table() -> tuple[Floats, Floats]:
    """Return radii of balls, and where their blurred images fall to half of their peaks."""
    radii = np.geomspace(SMALLEST, LARGEST, POINTS)
    return radii, np.array([_half(float(radius)) for radius in radii])


def _half(radius: float) -> float:
    low, high = 0.0, radius + 2.0
    wanted = profile(0.0, radius) / 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if profile(middle, radius) > wanted else (low, middle)
    return (low + high) / 2
