"""Where a nodule may be centred: in open lung, beside a vessel, at the wall, on a fissure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Place = NDArray[np.float64]
Triple = tuple[float, float, float]
SiteKind = Literal["isolated", "vascular", "pleural", "perifissural"]

SITE_KINDS: tuple[SiteKind, ...] = ("isolated", "vascular", "pleural", "perifissural")
SITE_SHARES = (0.46, 0.20, 0.24, 0.10)

TRIES: dict[SiteKind, int] = {"isolated": 100, "vascular": 100, "pleural": 100, "perifissural": 24}
SHEET_MM, LEAST_SHEET_MM3 = 1.2, 60.0
SHEET_HU_PER_MM2 = (-45.0, -5.0)
"""Curvature across a fissure after a blur of `SHEET_MM`; vessels and walls bend more."""


@dataclass(frozen=True, slots=True)
class _Lungs:
    """What places are looked for in: HU, where lung is, and the step of a voxel."""

    hu: Floats
    mask: Mask
    spacing_mm: NDArray[np.float64]

    def has(self, place: Place) -> bool:
        index = np.rint(place).astype(int)
        inside = (index >= 0).all() and (index < self.mask.shape).all()
        return bool(inside and self.mask[tuple(index)])


def draw_site(
    rng: np.random.Generator,
    volume_hu: Floats,
    lung_mask: Mask,
    *,
    spacing_mm: Triple = (1.0, 1.0, 1.0),
) -> Triple | None:
    """Draw where a nodule may be centred.

    Args:
        lung_mask: (z, y, x); vessels inside lungs count as lung.

    Returns:
        A voxel index (z, y, x) with fractions, or None when no place was found.
    """
    first = draw_site_kind(rng)
    for kind in (first, "isolated", "vascular"):
        site = find_site(rng, volume_hu, lung_mask, kind=kind, spacing_mm=spacing_mm)
        if site is not None:
            return site
    return None


def draw_site_kind(rng: np.random.Generator) -> SiteKind:
    """Draw a kind of place by `SITE_SHARES`."""
    return SITE_KINDS[int(rng.choice(len(SITE_KINDS), p=SITE_SHARES))]


def find_site(
    rng: np.random.Generator,
    volume_hu: Floats,
    lung_mask: Mask,
    *,
    kind: SiteKind,
    spacing_mm: Triple = (1.0, 1.0, 1.0),
) -> Triple | None:
    """Look for a place of one kind; None when `TRIES` found none."""
    candidates = lung_mask & (volume_hu > -600) if kind == "vascular" else lung_mask
    places = np.flatnonzero(candidates)
    if places.size == 0:
        return None
    lungs = _Lungs(volume_hu, lung_mask, np.array(spacing_mm))
    ways = _directions(rng, TRIES[kind]) / lungs.spacing_mm  # voxels for 1 mm
    for place, way in zip(rng.choice(places, TRIES[kind]), ways, strict=True):
        start = np.array(np.unravel_index(place, lung_mask.shape)) + rng.uniform(-0.5, 0.5, 3)
        site = _FINDERS[kind](start, way, rng, lungs)
        if site is not None and lungs.has(site):
            z, y, x = site
            return float(z), float(y), float(x)
    return None


def _isolated(start: Place, way: Place, _rng: np.random.Generator, lungs: _Lungs) -> Place | None:
    """Air on all sides: nothing bright at 0 and at 4 mm along three axes."""
    del way
    around = np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)]) * 4 / lungs.spacing_mm
    for offset in around:
        place = start + offset
        if not lungs.has(place) or lungs.hu[tuple(np.rint(place).astype(int))] > -600:
            return None
    return start


def _vascular(start: Place, way: Place, rng: np.random.Generator, lungs: _Lungs) -> Place | None:
    """Beside a vessel: a little off a bright voxel."""
    return start + way * rng.uniform(0.5, 4)


def _pleural(start: Place, way: Place, rng: np.random.Generator, lungs: _Lungs) -> Place | None:
    """On the wall: walk out of the lung into soft tissue, then a little back."""
    for steps in range(1, 80):
        place = start + steps * way
        if lungs.has(place):
            continue
        beyond = np.rint(place + 2 * way).astype(int)
        if (beyond < 0).any() or (beyond >= lungs.mask.shape).any():
            return None
        is_wall = lungs.hu[tuple(beyond)] > -250
        return place - way * rng.uniform(0.5, 4) if is_wall else None
    return None


def _perifissural(
    start: Place, way: Place, rng: np.random.Generator, lungs: _Lungs
) -> Place | None:
    """On a fissure: where the image is bent across one direction only, over a whole sheet."""
    reach = np.ceil(7 / lungs.spacing_mm)
    low = np.maximum(np.rint(start) - reach, 0).astype(int)
    high = np.minimum(np.rint(start) + reach + 1, lungs.mask.shape).astype(int)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    local = lungs.hu[box]
    is_sheet = _is_sheet(local, lungs.spacing_mm) & ndimage.binary_erosion(lungs.mask[box])
    parts, count = ndimage.label(is_sheet, np.ones((3, 3, 3)))
    if not count:
        return None
    volumes = np.bincount(parts.ravel())[1:] * np.prod(lungs.spacing_mm)
    if volumes.max() < LEAST_SHEET_MM3:
        return None
    places = np.argwhere(parts == 1 + int(volumes.argmax()))
    chosen = places[int(rng.integers(len(places)))]
    place: Place = low + chosen + way * rng.uniform(0, 1.5)
    return place


def _is_sheet(local: Floats, spacing_mm: NDArray[np.float64]) -> Mask:
    """Return where the image is bright and bent, but along one direction only."""
    sigma = SHEET_MM / spacing_mm
    hessian = np.empty((*local.shape, 3, 3), np.float32)  # HU/mm^2
    for a in range(3):
        for b in range(a, 3):
            order = tuple(int(axis == a) + int(axis == b) for axis in range(3))
            second = ndimage.gaussian_filter(local, sigma, order=order, truncate=3)
            hessian[..., a, b] = hessian[..., b, a] = second / (spacing_mm[a] * spacing_mm[b])
    strong, faint = SHEET_HU_PER_MM2
    # The sum of the three curvatures: cheap, and negative on any bright sheet.
    total = np.trace(hessian, axis1=-2, axis2=-1)
    found: Mask = (total < 0.5 * faint) & (total > 2 * strong)
    first, second, third = np.linalg.eigvalsh(hessian[found]).T
    flat = np.maximum(np.abs(second), np.abs(third)) < -0.4 * first
    found[found] = flat & (first < faint) & (first > strong)
    return found


_FINDERS: dict[SiteKind, Callable[[Place, Place, np.random.Generator, _Lungs], Place | None]] = {
    "isolated": _isolated,
    "vascular": _vascular,
    "pleural": _pleural,
    "perifissural": _perifissural,
}


def _directions(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    vectors = rng.standard_normal((count, 3))
    unit: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
