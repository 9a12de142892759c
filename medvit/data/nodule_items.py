"""Items and batches of the nodule training: crops drawn on the fly, from scans of all kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from medvit.data.crop_augmentation import (
    CropSettings,
    Rows,
    apply_scale,
    augment,
    draw_scale,
    side_before,
)
from medvit.data.draws import DrawKey, Spot
from medvit.data.nodule_crops import (
    Background,
    Voxel,
    draw_crop,
    draw_lung_voxel,
    draw_start,
    known_rows,
    read_crop,
    scale_hu,
)


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
    """What crops are cut from, and how, in one phase of a training.

    Attributes:
        backgrounds: All at one spacing.
        settings: How crops are drawn.
        shares: Part of the crops that each background gets; empty: all alike.
    """

    backgrounds: tuple[Background, ...]
    settings: CropSettings
    shares: tuple[float, ...] = ()

    def draw_background(self, rng: np.random.Generator) -> int:
        """Draw the number of a background."""
        if not self.shares:
            return int(rng.integers(len(self.backgrounds)))
        return int(rng.choice(len(self.backgrounds), p=self.shares))


class NoduleCrops(Dataset[NoduleItem]):
    """Crops drawn on the fly: item (phase, number, spot) is the same whenever it is asked for."""

    def __init__(self, phases: Sequence[CropPhase], *, seed: int) -> None:
        self.phases = tuple(phases)
        self.seed = seed

    def __getitem__(self, key: DrawKey) -> NoduleItem:
        phase = self.phases[key.phase]
        rng = np.random.default_rng((self.seed, key.number))
        scan, voxel = key.spot or _draw_spot(phase, rng)
        background, settings = phase.backgrounds[scan], phase.settings
        scale = draw_scale(settings, rng)
        side = side_before(scale, settings.side)
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
        side = self.phases[phase].settings.side
        rng = np.random.default_rng((self.seed, number, 2))
        chosen = self.phases[phase].draw_background(rng)
        background = self.phases[phase].backgrounds[chosen]
        start = draw_start(draw_lung_voxel(background, rng), side, rng)
        pixels = torch.from_numpy(scale_hu(read_crop(background, start, side))[None])
        known = np.concatenate(known_rows(background, start, side))
        return Lookout(pixels, chosen, start, known, background.spacing_mm)


def _draw_spot(phase: CropPhase, rng: np.random.Generator) -> Spot:
    """Draw a scan, and one of its nodules or a voxel of its lungs."""
    scan = phase.draw_background(rng)
    background = phase.backgrounds[scan]
    if len(background.nodules) and rng.random() < phase.settings.positive_share:
        z, y, x = np.rint(background.nodules[rng.integers(len(background.nodules)), :3]).tolist()
        return Spot(scan, (int(z), int(y), int(x)))
    return Spot(scan, draw_lung_voxel(background, rng))


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
