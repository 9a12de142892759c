"""Training crops for the nodule detector: scans with nodules put in as they are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from medvit.data.insertion import draw_nodule, draw_site, insert_nodule, insert_sham

AIR_HU = -1024.0
LOW_HU, HIGH_HU = -1000.0, 400.0

Rows = NDArray[np.float32]  # (k, 4): centre (z, y, x) in voxels, diameter in mm


@dataclass(frozen=True, slots=True)
class Background:
    """A scan at isotropic spacing into which nodules are put.

    Attributes:
        hu: (z, y, x), int16; may be memory-mapped.
        lungs: (z, y, x), bool.
        spacing_mm: Side of a voxel.
        psf_fwhm_mm: Blur of the scanner (z, y, x).
        noise_sd_hu: Standard deviation of its noise.
        ignored: Places where it is unknown what is there, or where a real lesion lies.
    """

    hu: NDArray[np.int16]
    lungs: NDArray[np.bool_]
    spacing_mm: float
    psf_fwhm_mm: tuple[float, float, float]
    noise_sd_hu: float
    ignored: Rows = field(default_factory=lambda: np.zeros((0, 4), np.float32))


@dataclass(frozen=True, slots=True)
class CropSettings:
    """How crops are drawn.

    Attributes:
        side: Voxels on a side.
        most_nodules: Nodules in a crop are drawn uniformly from 0 to this.
        most_shams: Insertions of plain parenchyma, to be told from nodules.
        cut_share: Share of crops in which the scan ends inside the crop.
        thick_share: Share of crops smeared along z as by thick slices.
    """

    side: int = 64
    most_nodules: int = 6
    most_shams: int = 2
    cut_share: float = 0.15
    thick_share: float = 0.2


@dataclass(slots=True)
class Crop:
    """One training item; `nodules` and `ignored` are rows as in `Rows`."""

    hu: NDArray[np.float32]
    nodules: Rows
    ignored: Rows


class NoduleCrops(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Crops drawn on the fly: item i is the same whenever it is asked for.

    Items are the pixels (1, z, y, x) in 0..1, the nodules and the ignored places.
    """

    def __init__(self, backgrounds: list[Background], settings: CropSettings, *, seed: int) -> None:
        self.backgrounds = backgrounds
        self.settings = settings
        self.seed = seed

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        background = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        crop = draw_crop(background, self.settings, rng)
        augment(crop, background, self.settings, rng)
        return (
            torch.from_numpy(scale_hu(crop.hu)[None]),
            torch.from_numpy(crop.nodules),
            torch.from_numpy(crop.ignored),
        )


class FreshCrops(Sampler[int]):
    """Asks for other crops in each epoch, and for the same ones when a run is resumed."""

    def __init__(self, crops_per_epoch: int) -> None:
        self.crops_per_epoch = crops_per_epoch
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.crops_per_epoch

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.crops_per_epoch
        yield from range(first, first + self.crops_per_epoch)


def scale_hu(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return HU clipped to -1000..400 as 0..1, as the detector takes them."""
    return ((np.clip(hu, LOW_HU, HIGH_HU) - LOW_HU) / (HIGH_HU - LOW_HU)).astype(np.float32)


def draw_crop(background: Background, settings: CropSettings, rng: np.random.Generator) -> Crop:
    """Cut a crop that holds some lung and put nodules and shams into it."""
    side = settings.side
    start = _draw_start(background, side, rng)
    hu = _cut(background.hu, start, side, fill=AIR_HU).astype(np.float32)
    lungs = _cut(background.lungs, start, side, fill=False)
    ignored = background.ignored.copy()
    ignored[:, :3] -= start
    free = lungs.copy()
    _clear(free, ignored, background.spacing_mm)
    known: list[list[float]] = []
    for _ in range(int(rng.integers(settings.most_shams + 1))):
        site = draw_site(rng, hu, free)
        if site is not None:
            spec = draw_nodule(rng, centre_index_zyx=site)
            insert_sham(hu, spec, **_scanner(background), rng=rng)
    for _ in range(int(rng.integers(settings.most_nodules + 1))):
        site = draw_site(rng, hu, free)
        if site is not None:
            spec = draw_nodule(rng, centre_index_zyx=site)
            insert_nodule(hu, spec, **_scanner(background), rng=rng)
            known.append([*spec.centre_index_zyx, spec.diameter_mm])
            _clear(free, np.array(known[-1:], np.float32), background.spacing_mm)
    return Crop(hu, np.array(known, np.float32).reshape(-1, 4), ignored)


def augment(
    crop: Crop, background: Background, settings: CropSettings, rng: np.random.Generator
) -> None:
    """Change a crop in place as another scanner or patient would.

    Flips, quarter turns in the axial plane, slice thickness, kernel, noise, HU
    shift, and an end of the scan inside the crop.
    """
    for axis in range(3):
        if rng.random() < 0.5:
            _flip(crop, axis)
    for _ in range(int(rng.integers(4))):
        _quarter_turn(crop)
    if rng.random() < settings.thick_share:
        length = int(rng.integers(2, 7))
        crop.hu = ndimage.uniform_filter1d(crop.hu, length, axis=0, mode="nearest")
    if rng.random() < 0.4:
        sigma = rng.uniform(0.2, 0.8) / background.spacing_mm
        blurred = ndimage.gaussian_filter(crop.hu, (0, sigma, sigma))
        crop.hu = blurred if rng.random() < 0.5 else 2 * crop.hu - blurred
    noise = rng.standard_normal(crop.hu.shape, dtype=np.float32)
    crop.hu = crop.hu + noise * np.float32(rng.uniform(0, 25)) + np.float32(rng.uniform(-15, 15))
    if rng.random() < settings.cut_share:
        _cut_end(crop, rng)


def collate(
    items: list[tuple[Tensor, Tensor, Tensor]],
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Stack pixels; keep nodules and ignored places as lists."""
    return torch.stack([x for x, _, _ in items]), [n for _, n, _ in items], [g for _, _, g in items]


def save_background(path: Path, background: Background) -> None:
    """Write a background as .npz beside a memory-mappable .npy of its voxels."""
    np.save(path.with_suffix(".hu.npy"), background.hu)
    np.savez_compressed(
        path.with_suffix(".npz"),
        lungs=np.packbits(background.lungs),
        spacing_mm=background.spacing_mm,
        psf_fwhm_mm=np.array(background.psf_fwhm_mm),
        noise_sd_hu=background.noise_sd_hu,
        ignored=background.ignored,
    )


def load_background(path: Path) -> Background:
    """Read what `save_background` wrote; voxels stay on disk."""
    hu = np.load(path.with_suffix(".hu.npy"), mmap_mode="r", allow_pickle=False)
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as file:
        lungs = np.unpackbits(file["lungs"], count=hu.size).reshape(hu.shape).astype(bool)
        z_mm, y_mm, x_mm = (float(value) for value in file["psf_fwhm_mm"])
        return Background(
            hu,
            lungs,
            float(file["spacing_mm"]),
            (z_mm, y_mm, x_mm),
            float(file["noise_sd_hu"]),
            file["ignored"].astype(np.float32),
        )


def _scanner(background: Background) -> dict[str, Any]:
    return {
        "spacing_mm": (background.spacing_mm,) * 3,
        "psf_fwhm_mm": background.psf_fwhm_mm,
        "noise_sd_hu": background.noise_sd_hu,
    }


def _draw_start(background: Background, side: int, rng: np.random.Generator) -> Rows:
    shape = np.array(background.hu.shape)
    for _ in range(50):
        inside = rng.integers(shape)
        if background.lungs[tuple(inside)]:
            break
    return (inside - rng.integers(side // 8, side - side // 8, size=3)).astype(np.float32)


def _cut(array: NDArray[Any], start: Rows, side: int, *, fill: float) -> NDArray[Any]:
    out = np.full((side,) * 3, fill, dtype=array.dtype)
    low = start.astype(int)
    source = [
        slice(max(0, a), max(0, min(n, a + side))) for a, n in zip(low, array.shape, strict=True)
    ]
    target = [slice(s.start - a, s.stop - a) for s, a in zip(source, low, strict=True)]
    out[tuple(target)] = array[tuple(source)]
    return out


def _clear(free: NDArray[np.bool_], rows: Rows, spacing_mm: float) -> None:
    """Take balls, with a margin of 4 mm, out of where nodules may go."""
    axes = np.ogrid[tuple(slice(0, length) for length in free.shape)]
    for *centre, diameter_mm in rows:
        reach = (diameter_mm / 2 + 4) / spacing_mm
        away = sum((axis - at) ** 2 for axis, at in zip(axes, centre, strict=True))
        free[np.asarray(away <= reach**2)] = False


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
