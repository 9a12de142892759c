"""A nodule put into a real scan has that scan's noise and blur, not a clean inside of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from medvit.data.backgrounds import NativeBackground, native_background
from medvit.data.insertion import insert_nodule
from medvit.data.nodule_sites import find_site
from medvit.data.nodule_spec import NoduleSpec
from medvit.io.readers import open_volume

SIDE = 12
"""Pixels of a patch: 8 mm, inside a nodule of 14 mm."""

SCANS = ("lidc/LIDC-IDRI-0001", "lidc/LIDC-IDRI-0002")


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise of patches: its spread, and its power in four rings of frequency, summing to 1."""

    sd_hu: float
    power: NDArray[np.float64]


def noise_of(patches: list[NDArray[np.float32]]) -> Noise:
    y, x = np.ogrid[:SIDE, :SIDE]
    window = np.sqrt(np.outer(np.hanning(SIDE), np.hanning(SIDE)))
    rings = np.minimum((np.hypot(np.fft.fftfreq(SIDE)[y], np.fft.fftfreq(SIDE)[x]) * 8), 3.9)
    power, spreads = np.zeros(4), []
    for patch in patches:
        fine = patch - ndimage.gaussian_filter(patch, 2.5)  # without the gradient of tissue
        spreads.append(float(fine.std()))
        spectrum = np.abs(np.fft.fft2((fine - fine.mean()) * window)) ** 2
        power += np.bincount(rings.astype(int).ravel(), spectrum.ravel(), minlength=4)
    return Noise(float(np.median(spreads)), power / power.sum())


def patch_at(hu: NDArray[np.float32], site: tuple[float, ...]) -> NDArray[np.float32]:
    z, y, x = (round(at) for at in site)
    half = SIDE // 2
    return hu[z, y - half : y + half, x - half : x + half]


def put(scan: NativeBackground, site: tuple[float, float, float]) -> NDArray[np.float32]:
    hu = scan.hu.copy()
    insert_nodule(
        hu,
        NoduleSpec(site, 14, "solid", lobulation=0.05, hu=20),
        spacing_mm=scan.spacing_mm,
        psf_fwhm_mm=scan.psf_fwhm_mm,
        noise_sd_hu=scan.noise_sd_hu,
        rng=np.random.default_rng(0),
    )
    return hu


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize("name", SCANS)
def test_noise_inside_has_the_spread_and_spectrum_of_the_scan(shared_data: Path, name: str) -> None:
    scan = native_background(open_volume(shared_data / "ct" / name), [])
    rng = np.random.default_rng(0)
    before: list[NDArray[np.float32]] = []
    after: list[NDArray[np.float32]] = []
    while len(before) < 12:
        site = find_site(rng, scan.hu, scan.lungs, kind="isolated", spacing_mm=scan.spacing_mm)
        assert site is not None
        plain = patch_at(scan.hu, site)
        if plain.shape != (SIDE, SIDE) or plain.max() > -700:
            continue
        before.append(plain)
        after.append(patch_at(put(scan, site), site))
    own, inside = noise_of(before), noise_of(after)
    assert float(np.mean([patch.mean() for patch in after])) == pytest.approx(20, abs=40)
    assert inside.sd_hu == pytest.approx(own.sd_hu, rel=0.2)
    assert inside.power == pytest.approx(own.power, abs=0.1)
    assert 0.9 < scan.psf_fwhm_mm[1] < 1.8  # a standard kernel, by its edges
