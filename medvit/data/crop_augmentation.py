"""Crops as another scanner, or another patient, would have given them."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medvit.volume.volume import AIR_HU

Rows = NDArray[np.float32]  # (k, 4): centre (z, y, x) in voxels, diameter in mm

KERNEL_SHARE = 0.4
MOST_NOISE_HU = 25.0
MOST_SHIFT_HU = 15.0
MOST_GAIN = 0.03
"""Scanners differ by a few HU in air and by a few percent above it."""


@dataclass(frozen=True, slots=True)
class CropSettings:
    """How crops are drawn.

    Attributes:
        side: Voxels on a side.
        most_nodules: Nodules in a crop are drawn uniformly from 0 to this.
        most_distractors: Vessel bends, scars, rib ends and shams, to be told from nodules.
        hard_share: Share of the nodules put in that are hazy or small.
        positive_share: Share of the crops of a scan with real nodules that hold one of them.
        cut_share: Share of crops in which the scan ends inside the crop.
        thick_share: Share of crops smeared along z as by thick slices.
        scale_share: Share of crops that are made larger or smaller.
        most_scale: Lengths change by a factor of at most this, or by its inverse.
    """

    side: int = 64
    most_nodules: int = 6
    most_distractors: int = 6
    hard_share: float = 0.0
    positive_share: float = 0.5
    cut_share: float = 0.15
    thick_share: float = 0.2
    scale_share: float = 0.5
    most_scale: float = 1.1


@dataclass(slots=True)
class Crop:
    """One training item; `nodules` and `ignored` are rows as in `Rows`."""

    hu: NDArray[np.float32]
    nodules: Rows
    ignored: Rows


def draw_scale(settings: CropSettings, rng: np.random.Generator) -> float:
    """Return the factor that lengths in a crop shall change by; 1 for most crops."""
    factor = float(np.exp(rng.uniform(-1, 1) * np.log(settings.most_scale)))
    return factor if rng.random() < settings.scale_share else 1.0


def side_before(scale: float, side: int) -> int:
    """Return the voxels that a crop needs on a side to have `side` of them when scaled.

    Examples:
        >>> [side_before(scale, 64) for scale in (0.9, 1.0, 1.1)]
        [71, 64, 59]
    """
    return side if scale == 1 else ceil((side - 1) / scale) + 1


def apply_scale(crop: Crop, scale: float, *, side: int) -> None:
    """Make everything in a crop larger by a factor, diameters too, about its middle.

    A nodule that is no longer centred in the crop becomes a place to ignore.

    Args:
        crop: With `side_before(scale, side)` voxels on a side; `side` afterwards.
    """
    if scale == 1:
        return
    before = crop.hu.shape[0]
    first = (before - 1) / 2 - (side - 1) / 2 / scale
    crop.hu = ndimage.affine_transform(
        crop.hu, [1 / scale] * 3, [first] * 3, (side,) * 3, order=1, mode="nearest"
    )
    for rows in (crop.nodules, crop.ignored):
        rows[:, :3] = (rows[:, :3] - first) * scale
        rows[:, 3] *= scale
    middle = (side - 1) / 2
    inside = (np.abs(crop.nodules[:, :3] - middle) <= side / 2).all(axis=1)
    crop.ignored = np.concatenate([crop.ignored, crop.nodules[~inside]])
    crop.nodules = crop.nodules[inside]


def augment(
    crop: Crop, settings: CropSettings, rng: np.random.Generator, *, spacing_mm: float
) -> None:
    """Change a crop in place as another scanner or patient would.

    Flips, quarter turns in the axial plane, slice thickness, kernel, noise, shift and gain
    of HU, and an end of the scan inside the crop. Scaling comes before, by `apply_scale`.
    """
    for axis in range(3):
        if rng.random() < 0.5:
            _flip(crop, axis)
    for _ in range(int(rng.integers(4))):
        _quarter_turn(crop)
    if rng.random() < settings.thick_share:
        length = max(1, round(int(rng.integers(2, 7)) / spacing_mm))
        crop.hu = ndimage.uniform_filter1d(crop.hu, length, axis=0, mode="nearest")
    if rng.random() < KERNEL_SHARE:
        sigma = rng.uniform(0.2, 0.8) / spacing_mm
        blurred = ndimage.gaussian_filter(crop.hu, (0, sigma, sigma))
        crop.hu = blurred if rng.random() < 0.5 else 2 * crop.hu - blurred
    noise = rng.standard_normal(crop.hu.shape, dtype=np.float32)
    gain = np.float32(1 + rng.uniform(-MOST_GAIN, MOST_GAIN))
    shift = np.float32(rng.uniform(-MOST_SHIFT_HU, MOST_SHIFT_HU))
    noise *= np.float32(rng.uniform(0, MOST_NOISE_HU))
    crop.hu = (crop.hu - np.float32(AIR_HU)) * gain + np.float32(AIR_HU) + shift + noise
    if rng.random() < settings.cut_share:
        _cut_end(crop, rng)


def _flip(crop: Crop, axis: int) -> None:
    last = crop.hu.shape[axis] - 1
    crop.hu = np.flip(crop.hu, axis)
    for rows in (crop.nodules, crop.ignored):
        rows[:, axis] = last - rows[:, axis]


def _quarter_turn(crop: Crop) -> None:
    crop.hu = crop.hu.swapaxes(1, 2)
    for rows in (crop.nodules, crop.ignored):
        rows[:, [1, 2]] = rows[:, [2, 1]]
    _flip(crop, 1)


def _cut_end(crop: Crop, rng: np.random.Generator) -> None:
    """Let the scan begin or end inside the crop; nodules centred beyond are gone."""
    side = crop.hu.shape[0]
    high = int(rng.integers(side // 4, side + 1))
    low = max(0, high - int(rng.integers(12, side)))
    crop.hu[:low] = crop.hu[high:] = AIR_HU
    kept = (crop.nodules[:, 0] >= low) & (crop.nodules[:, 0] < high)
    crop.nodules = crop.nodules[kept]
