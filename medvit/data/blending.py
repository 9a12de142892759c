"""How a made thing is blended into a CT: the smooth image moves, the noise stays as it was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medvit.data.nodule_shape import Cover, Raster, blurred_cover

Floats = NDArray[np.float32]
Triple = tuple[float, float, float]
Box = tuple[slice, slice, slice]

LEAST_CONTRAST_HU = 130.0
SMOOTH_MM = 0.9
GRAIN_MM = 1.5


@dataclass(frozen=True, slots=True)
class Scanner:
    """What blurs a volume and what roughens it.

    Attributes:
        spacing_mm: Spacing (z, y, x).
        psf_fwhm_mm: Blur (z, y, x).
        noise_sd_hu: Standard deviation of the noise; 0 before noise is added.
    """

    spacing_mm: Triple
    psf_fwhm_mm: Triple
    noise_sd_hu: float

    def softer(self, margin_mm: float) -> Scanner:
        """Return a scanner that also fades edges over a margin."""
        z, y, x = (float(np.hypot(fwhm, margin_mm)) for fwhm in self.psf_fwhm_mm)
        return Scanner(self.spacing_mm, (z, y, x), self.noise_sd_hu)

    def cover(self, covered: Cover, centre_zyx: Triple, box: Box) -> Floats:
        """Return the share of each voxel of a box that lies in a thing about a centre."""
        first = [
            (part.start - at) * mm
            for part, at, mm in zip(box, centre_zyx, self.spacing_mm, strict=True)
        ]
        counts = [part.stop - part.start for part in box]
        raster = Raster(
            (first[0], first[1], first[2]),
            (counts[0], counts[1], counts[2]),
            self.spacing_mm,
            self.psf_fwhm_mm,
        )
        return blurred_cover(covered, raster)

    def box(self, centre_zyx: Triple, reach_mm: float, shape: tuple[int, ...]) -> Box | None:
        """Return the voxels a thing can touch; None if it lies beyond the volume."""
        slices = []
        for at, mm, fwhm, length in zip(
            centre_zyx, self.spacing_mm, self.psf_fwhm_mm, shape, strict=True
        ):
            reach = (reach_mm + 1.3 * fwhm + 1.5) / mm
            low = max(0, int(np.floor(at - reach)))
            high = min(length, int(np.ceil(at + reach)) + 1)
            if low >= high:
                return None
            slices.append(slice(low, high))
        return slices[0], slices[1], slices[2]


@dataclass(frozen=True, slots=True)
class Layers:
    """A box of the image taken apart.

    Attributes:
        base: Even parenchyma, and walls and vessels where there are such.
        noise: The rest, as far as it can be noise: in parenchyma its whole spectrum.
        lung_hu: Typical parenchyma, whatever wall or vessel the box holds.
    """

    base: Floats
    noise: Floats
    lung_hu: float


def split(local: Floats, scanner: Scanner) -> Layers:
    """Take a box of the image apart into what is there and what can be noise."""
    sigmas = [SMOOTH_MM / mm for mm in scanner.spacing_mm]
    smooth = ndimage.gaussian_filter(local, sigmas, mode="nearest")
    is_lung = smooth < -600
    if not is_lung.any():
        limit = np.float32(3 * scanner.noise_sd_hu)
        return Layers(smooth, np.clip(local - smooth, -limit, limit), -850.0)
    lung_hu = float(np.median(smooth[is_lung]))
    above = smooth - np.float32(lung_hu)
    # What lies within the spread of smoothed noise is noise; what is far off is anatomy.
    spread = max(_spread(smooth[is_lung]), 1.0)
    above *= np.clip((np.abs(above) - 2.5 * spread) / (2 * spread), 0, 1)
    base = above + np.float32(lung_hu)
    noise = local - base
    limit = np.float32(3 * max(_spread(noise[is_lung]), scanner.noise_sd_hu))
    return Layers(base, np.clip(noise, -limit, limit), lung_hu)


def raise_to(volume_hu: Floats, box: Box, inside: Floats, target: Floats, layers: Layers) -> None:
    """Move a box to `target` as far as `inside` says and where that is brighter, in place."""
    brighter = np.maximum(target, layers.base)
    volume_hu[box] += inside * (brighter + layers.noise - volume_hu[box])


def grain(
    rng: np.random.Generator, shape: tuple[int, ...], *, spacing_mm: Triple, sd_hu: float
) -> Floats:
    """Return the unevenness of tissue: bumps of about 4 mm."""
    white = rng.standard_normal(shape, dtype=np.float32)
    rough: Floats = ndimage.gaussian_filter(
        white, [GRAIN_MM / mm for mm in spacing_mm], mode="wrap"
    )
    rough *= np.float32(sd_hu / max(float(rough.std()), 1e-6))
    return rough


def _spread(values: Floats) -> float:
    """Return the standard deviation, blind to a few vessels: from the median deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
