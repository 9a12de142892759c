"""A blurred ball in closed form, beside one that was blurred."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medvit.volume.blurred_ball import profile, recovery, sharpened


@pytest.mark.parametrize("radius_mm", [1.5, 3.0])
def test_the_closed_form_is_that_of_a_blurred_ball(radius_mm: float) -> None:
    side_mm, sigma_mm = 0.2, 0.6
    axes = np.ogrid[-40:41, -40:41, -40:41]
    away_mm = np.sqrt(sum((axis * side_mm) ** 2 for axis in axes))
    ball = np.clip(0.5 - (away_mm - radius_mm) / side_mm, 0, 1)
    blurred = ndimage.gaussian_filter(ball, sigma_mm / side_mm, truncate=5)
    expected = [profile(n * side_mm / sigma_mm, radius_mm / sigma_mm) for n in range(20)]
    np.testing.assert_allclose(blurred[40, 40, 40:60], expected, atol=0.01)
    assert recovery(radius_mm, sigma_mm) == pytest.approx(blurred[40, 40, 40], abs=0.01)


@pytest.mark.parametrize(("radius_mm", "sigma_mm"), [(1.2, 0.5), (2.0, 0.9), (8.0, 0.6)])
def test_sharpening_undoes_the_blur(radius_mm: float, sigma_mm: float) -> None:
    away = np.linspace(0, radius_mm + 3 * sigma_mm, 4000)
    shown = np.array([profile(r / sigma_mm, radius_mm / sigma_mm) for r in away])
    half_mm = away[np.argmax(shown < shown[0] / 2)]
    assert sharpened(float(half_mm), sigma_mm) == pytest.approx(radius_mm, abs=0.01)
