"""What a scanner does to a body: blur, slice thickness, kernel and noise."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medvit.data.chest.fields import Floats, Triple

FWHM_PER_SIGMA = 2.3548


def blur(hu: Floats, *, psf_fwhm_mm: Triple, step_mm: Triple) -> Floats:
    """Return the image blurred by the scanner, allowing for the voxels' own width."""
    out = hu
    for axis in range(3):
        # A voxel of one step already blurs like a Gaussian of 0.68 steps FWHM.
        left = psf_fwhm_mm[axis] ** 2 - (0.68 * step_mm[axis]) ** 2
        if left > 0:
            sigma = np.sqrt(left) / FWHM_PER_SIGMA / step_mm[axis]
            out = ndimage.gaussian_filter1d(out, sigma, axis=axis, mode="nearest", truncate=3)
    return out


def sharpen(hu: Floats, *, step_mm: Triple, strength: float) -> Floats:
    """Return the image with edges raised in-plane, as lung kernels do."""
    if strength <= 0:
        return hu
    sigmas = (0.0, 0.9 / step_mm[1], 0.9 / step_mm[2])
    soft = ndimage.gaussian_filter(hu, sigmas, mode="nearest", truncate=3)
    sharper: Floats = hu + np.float32(strength) * (hu - soft)
    return sharper


def add_noise(
    hu: Floats, *, step_mm: Triple, sd_hu: float, sharpness: float, rng: np.random.Generator
) -> None:
    """Add noise of the spread asked for, in place, slice after slice.

    Soft kernels leave coarse grain; sharp ones take the lowest frequencies away.

    Args:
        sharpness: 0 for a soft tissue kernel, 1 for a lung kernel.
    """
    fine = (0.75 - 0.45 * sharpness) / step_mm[1]
    grain = 0.0
    for index in range(len(hu)):
        white = rng.standard_normal(hu.shape[1:], dtype=np.float32)
        noise = ndimage.gaussian_filter(white, fine, mode="wrap", truncate=3)
        coarse = ndimage.gaussian_filter(noise, 2.5 * fine, mode="wrap", truncate=3)
        noise -= np.float32(0.75) * coarse
        grain = grain or float(noise.std())
        hu[index] += np.float32(sd_hu / grain) * noise
