"""Training crops for the nodule detector: scans with nodules put in as they are drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medvit.data.crop_augmentation import (
    Crop,
    CropSettings,
    Rows,
)
from medvit.data.distractors import draw_distractor, insert_distractor
from medvit.data.insertion import insert_nodule
from medvit.data.nodule_sites import draw_site
from medvit.data.nodule_spec import draw_hard_nodule, draw_nodule
from medvit.data.packed_mask import KeptMask, PackedMask
from medvit.volume.volume import AIR_HU, Hu

LOW_HU, HIGH_HU = -1000.0, 400.0
Voxel = tuple[int, int, int]

HIGHEST_HU = 3071.0
"""Metal beyond 12 bits says nothing more, and would outshine all that is blurred with it."""


def no_rows() -> Rows:
    """Return an empty table of places."""
    return np.zeros((0, 4), np.float32)


class Voxels(Protocol):
    """HU at isotropic spacing, read box by box: a grid over a volume, or part of one."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels (z, y, x)."""

    def read(self, z: slice, y: slice, x: slice) -> Hu:
        """Return a box of its own; bounds may lie beyond either end."""


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """A scan at isotropic spacing into which nodules are put.

    Attributes:
        voxels: Where crops are read from; the scan is not held.
        lungs: Of the same shape.
        spacing_mm: Side of a voxel.
        psf_fwhm_mm: Blur of the scanner (z, y, x).
        noise_sd_hu: Standard deviation of its noise.
        ignored: Places where it is unknown what is there, or where a real lesion lies.
        nodules: Real nodules that somebody marked.
        insertion_share: Share of its crops that get nodules and distractors put in.
    """

    voxels: Voxels
    lungs: PackedMask | KeptMask
    spacing_mm: float
    psf_fwhm_mm: tuple[float, float, float]
    noise_sd_hu: float
    ignored: Rows = field(default_factory=no_rows)
    nodules: Rows = field(default_factory=no_rows)
    insertion_share: float = 1.0


def scale_hu(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return HU clipped to -1000..400 as 0..1, as the detector takes them."""
    return ((np.clip(hu, LOW_HU, HIGH_HU) - LOW_HU) / (HIGH_HU - LOW_HU)).astype(np.float32)


def draw_lung_voxel(background: Background, rng: np.random.Generator) -> Voxel:
    """Draw a voxel of lung; any voxel where lung is hard to find."""
    for _ in range(50):
        z, y, x = rng.integers(background.voxels.shape).tolist()
        if background.lungs.at(z, y, x):
            break
    return z, y, x


def draw_start(voxel: Voxel, side: int, rng: np.random.Generator) -> Voxel:
    """Draw the corner of a crop that holds a voxel, though not at its rim."""
    z, y, x = (np.array(voxel) - rng.integers(side // 8, side - side // 8, size=3)).tolist()
    return z, y, x


def read_crop(background: Background, start: Voxel, side: int) -> Hu:
    """Return the HU of a crop, without padding values and metal beyond 12 bits."""
    z, y, x = (slice(first, first + side) for first in start)
    return np.clip(background.voxels.read(z, y, x), AIR_HU, HIGHEST_HU)


def known_rows(background: Background, start: Voxel, side: int) -> tuple[Rows, Rows]:
    """Return nodules centred in a crop, and all else to ignore, in voxels of the crop."""
    corner = np.array([*start, 0], np.float32)
    nodules, ignored = background.nodules - corner, background.ignored - corner
    inside = ((nodules[:, :3] >= -0.5) & (nodules[:, :3] < side - 0.5)).all(axis=1)
    return nodules[inside], np.concatenate([ignored, nodules[~inside]])


def draw_crop(
    background: Background, start: Voxel, settings: CropSettings, rng: np.random.Generator
) -> Crop:
    """Cut a crop and put distractors and nodules into its lung."""
    hu = read_crop(background, start, settings.side)
    z, y, x = (slice(first, first + settings.side) for first in start)
    free = background.lungs.read(z, y, x)
    nodules, ignored = known_rows(background, start, settings.side)
    _clear(free, nodules, background.spacing_mm)
    _clear(free, ignored, background.spacing_mm)
    if rng.random() >= background.insertion_share:
        return Crop(hu, nodules, ignored)
    known: list[list[float]] = nodules.tolist()
    for _ in range(int(rng.integers(settings.most_distractors + 1))):
        decoy = draw_distractor(rng, hu, free, spacing_mm=(background.spacing_mm,) * 3)
        if decoy is not None:
            insert_distractor(hu, decoy, **_scanner(background), rng=rng)
            taken = np.array([[*decoy.centre_index_zyx, decoy.clear_mm]], np.float32)
            _clear(free, taken, background.spacing_mm)
    for _ in range(int(rng.integers(settings.most_nodules + 1))):
        site = draw_site(rng, hu, free, spacing_mm=(background.spacing_mm,) * 3)
        if site is not None:
            draw = draw_hard_nodule if rng.random() < settings.hard_share else draw_nodule
            spec = draw(rng, centre_index_zyx=site)
            insert_nodule(hu, spec, **_scanner(background), rng=rng)
            known.append([*spec.centre_index_zyx, spec.diameter_mm])
            _clear(free, np.array(known[-1:], np.float32), background.spacing_mm)
    return Crop(hu, np.array(known, np.float32).reshape(-1, 4), ignored)


def _scanner(background: Background) -> dict[str, Any]:
    return {
        "spacing_mm": (background.spacing_mm,) * 3,
        "psf_fwhm_mm": background.psf_fwhm_mm,
        "noise_sd_hu": background.noise_sd_hu,
    }


def _clear(free: NDArray[np.bool_], rows: Rows, spacing_mm: float) -> None:
    """Take balls, with a margin of 4 mm, out of where nodules may go."""
    axes = np.ogrid[tuple(slice(0, length) for length in free.shape)]
    for *centre, diameter_mm in rows:
        reach = (diameter_mm / 2 + 4) / spacing_mm
        away = sum((axis - at) ** 2 for axis, at in zip(axes, centre, strict=True))
        free[np.asarray(away <= reach**2)] = False
