"""Training crops for the nodule detector: scans with nodules put in as they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from medvit.data.crop_augmentation import (
    Crop,
    CropSettings,
    Rows,
    apply_scale,
    augment,
    draw_scale,
    side_before,
)
from medvit.data.distractors import draw_distractor, insert_distractor
from medvit.data.draws import DrawKey
from medvit.data.insertion import insert_nodule
from medvit.data.nodule_sites import draw_site
from medvit.data.nodule_spec import draw_nodule
from medvit.data.packed_mask import PackedMask
from medvit.volume.volume import AIR_HU, Hu

LOW_HU, HIGH_HU = -1000.0, 400.0
Voxel = tuple[int, int, int]

HIGHEST_HU = 3071.0
"""Metal beyond 12 bits says nothing more, and would outshine all that is blurred with it."""


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
    """

    voxels: Voxels
    lungs: PackedMask
    spacing_mm: float
    psf_fwhm_mm: tuple[float, float, float]
    noise_sd_hu: float
    ignored: Rows = field(default_factory=lambda: np.zeros((0, 4), np.float32))


class NoduleItem(NamedTuple):
    """Pixels (1, z, y, x) in 0..1, rows of nodules and ignored places, side of a voxel."""

    pixels: Tensor
    nodules: Tensor
    ignored: Tensor
    spacing_mm: float


class NoduleBatch(NamedTuple):
    """Items of one phase: pixels (n, 1, z, y, x), the rows of each, side of a voxel."""

    pixels: Tensor
    nodules: list[Tensor]
    ignored: list[Tensor]
    spacing_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class Lookout:
    """A crop in which whatever is marked away from `known` is marked wrongly.

    Attributes:
        pixels: (1, z, y, x) in 0..1.
        background: Number of the background it is cut from.
        start: Its corner there (z, y, x).
        known: Rows in voxels of the crop: what lies there, or is unknown.
        spacing_mm: Side of a voxel.
    """

    pixels: Tensor
    background: int
    start: Voxel
    known: Rows
    spacing_mm: float


@dataclass(frozen=True, slots=True)
class CropPhase:
    """What crops are cut from, and how, in one phase of a training."""

    backgrounds: tuple[Background, ...]
    settings: CropSettings


class NoduleCrops(Dataset[NoduleItem]):
    """Crops drawn on the fly: item (phase, number, spot) is the same whenever it is asked for."""

    def __init__(self, phases: Sequence[CropPhase], *, seed: int) -> None:
        self.phases = tuple(phases)
        self.seed = seed

    def __getitem__(self, key: DrawKey) -> NoduleItem:
        phase = self.phases[key.phase]
        rng = np.random.default_rng((self.seed, key.number))
        number = int(rng.integers(len(phase.backgrounds))) if key.spot is None else key.spot.scan
        background, settings = phase.backgrounds[number], phase.settings
        scale = draw_scale(settings, rng)
        side = side_before(scale, settings.side)
        voxel = draw_lung_voxel(background, rng) if key.spot is None else key.spot.voxel
        start = draw_start(voxel, side, rng)
        crop = draw_crop(background, start, replace(settings, side=side), rng)
        apply_scale(crop, scale, side=settings.side)
        augment(crop, settings, rng, spacing_mm=background.spacing_mm)
        return NoduleItem(
            torch.from_numpy(scale_hu(crop.hu)[None]),
            torch.from_numpy(crop.nodules),
            torch.from_numpy(crop.ignored),
            background.spacing_mm,
        )

    def untouched(self, phase: int, number: int) -> Lookout:
        """Return a crop of lung as it is, with nothing put in."""
        backgrounds, side = self.phases[phase].backgrounds, self.phases[phase].settings.side
        rng = np.random.default_rng((self.seed, number, 2))
        chosen = int(rng.integers(len(backgrounds)))
        background = backgrounds[chosen]
        start = draw_start(draw_lung_voxel(background, rng), side, rng)
        hu, known = read_crop(background, start, side), background.ignored.copy()
        known[:, :3] -= start
        pixels = torch.from_numpy(scale_hu(hu)[None])
        return Lookout(pixels, chosen, start, known, background.spacing_mm)


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


def draw_crop(
    background: Background, start: Voxel, settings: CropSettings, rng: np.random.Generator
) -> Crop:
    """Cut a crop and put distractors and nodules into its lung."""
    hu = read_crop(background, start, settings.side)
    z, y, x = (slice(first, first + settings.side) for first in start)
    free = background.lungs.read(z, y, x)
    ignored = background.ignored.copy()
    ignored[:, :3] -= start
    _clear(free, ignored, background.spacing_mm)
    known: list[list[float]] = []
    for _ in range(int(rng.integers(settings.most_distractors + 1))):
        decoy = draw_distractor(rng, hu, free, spacing_mm=(background.spacing_mm,) * 3)
        if decoy is not None:
            insert_distractor(hu, decoy, **_scanner(background), rng=rng)
            taken = np.array([[*decoy.centre_index_zyx, decoy.clear_mm]], np.float32)
            _clear(free, taken, background.spacing_mm)
    for _ in range(int(rng.integers(settings.most_nodules + 1))):
        site = draw_site(rng, hu, free, spacing_mm=(background.spacing_mm,) * 3)
        if site is not None:
            spec = draw_nodule(rng, centre_index_zyx=site)
            insert_nodule(hu, spec, **_scanner(background), rng=rng)
            known.append([*spec.centre_index_zyx, spec.diameter_mm])
            _clear(free, np.array(known[-1:], np.float32), background.spacing_mm)
    return Crop(hu, np.array(known, np.float32).reshape(-1, 4), ignored)


def collate(items: Sequence[NoduleItem]) -> NoduleBatch:
    """Stack pixels; keep nodules and ignored places as lists.

    Raises:
        ValueError: If the items have more than one spacing.
    """
    spacings = {item.spacing_mm for item in items}
    if len(spacings) != 1:
        msg = f"a batch has one spacing, got {sorted(spacings)} mm"
        raise ValueError(msg)
    pixels = torch.stack([item.pixels for item in items])
    nodules, ignored = [item.nodules for item in items], [item.ignored for item in items]
    return NoduleBatch(pixels, nodules, ignored, spacings.pop())


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
