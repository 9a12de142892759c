"""The blur of a scan is read off its edges, whatever the noise, and not where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from medvit.data.scan_sharpness import FWHM_PER_SIGMA, in_plane_fwhm_mm


def slices(fwhm_mm: float, *, pixel_mm: float, noise_hu: float) -> NDArray[np.float32]:
    """Return two slices of an oval body with two lungs, sampled five times finer, then blurred."""
    side, fine = 140, 5
    step_mm = pixel_mm / fine
    y = (np.arange(side * fine) - side * fine / 2)[:, None] * step_mm
    x = y.T
    hu = np.where(np.hypot(x / 0.46, y / 0.36) < side * pixel_mm, 40.0, -1000.0)
    for at in (-0.22, 0.22):
        lung = np.hypot((x / pixel_mm - at * side) / 0.15, y / pixel_mm / 0.22) < side
        hu = np.where(lung, -850.0, hu)
    blurred = ndimage.gaussian_filter(hu, fwhm_mm / FWHM_PER_SIGMA / step_mm)
    seen = np.asarray(blurred[2::fine, 2::fine])
    noise = np.random.default_rng(0).normal(0, noise_hu, (2, *seen.shape))
    return np.asarray(seen + noise, np.float32)


@pytest.mark.parametrize("fwhm_mm", [0.8, 1.2, 1.8])
@pytest.mark.parametrize("noise_hu", [0.0, 25.0])
def test_the_blur_is_found_within_a_fifth(fwhm_mm: float, noise_hu: float) -> None:
    image = slices(fwhm_mm, pixel_mm=0.7, noise_hu=noise_hu)
    assert in_plane_fwhm_mm(image, pixel_mm=0.7) == pytest.approx(fwhm_mm, rel=0.2)


def test_a_sharper_scan_measures_sharper_on_coarse_pixels_too() -> None:
    found = [
        in_plane_fwhm_mm(slices(fwhm, pixel_mm=1.0, noise_hu=15), pixel_mm=1.0)
        for fwhm in (1.0, 1.6, 2.2)
    ]
    sharp, middling, soft = (each or 0.0 for each in found)
    assert 0 < sharp < middling < soft


def test_without_edges_there_is_no_answer() -> None:
    assert in_plane_fwhm_mm(np.full((3, 60, 60), -850, np.float32), pixel_mm=0.7) is None
