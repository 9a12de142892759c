"""Made nodules put into a CT volume, and sham insertions that look like nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medvit.data.nodule_shape import Shape, blurred_cover, draw_shape

Floats = NDArray[np.float32]
Triple = tuple[float, float, float]
Kind = Literal["solid", "part_solid", "ground_glass", "calcified"]
SiteKind = Literal["isolated", "vascular", "pleural"]

KINDS: tuple[Kind, ...] = ("solid", "part_solid", "ground_glass", "calcified")
KIND_SHARES = (0.76, 0.08, 0.09, 0.07)
SITE_KINDS: tuple[SiteKind, ...] = ("isolated", "vascular", "pleural")
SITE_SHARES = (0.5, 0.22, 0.28)

# Log-normal fit to the diameters of LUNA16's 1186 nodules.
LOG_DIAMETER_MEAN, LOG_DIAMETER_SD = 1.99, 0.47
SMALLEST_MM, LARGEST_MM = 3.0, 30.0

LEAST_CONTRAST_HU = 130.0
SMOOTH_MM = 0.9


@dataclass(frozen=True, slots=True)
class NoduleSpec:
    """One nodule to be put into a volume.

    Attributes:
        centre_index_zyx: Centre in voxels of the volume, with fractions.
        diameter_mm: Mean diameter in the axial plane at half contrast.
        lobulation: Standard deviation of the radius over directions, as a share of it.
        spiculation: Number of spicules.
        hu: Attenuation of the whole, or of the halo of a part-solid nodule.
        core_hu: Attenuation of the core; equal to `hu` where there is none.
        core_share: Radius of the core as a share of the nodule's.
        shape_seed: Outline and core position follow from it.
    """

    centre_index_zyx: Triple
    diameter_mm: float
    kind: Kind
    lobulation: float = 0.1
    spiculation: int = 0
    hu: float = 0.0
    core_hu: float = 0.0
    core_share: float = 0.0
    shape_seed: int = 0


def draw_nodule(rng: np.random.Generator, *, centre_index_zyx: Sequence[float]) -> NoduleSpec:
    """Draw size, kind and outline of a nodule at a place.

    Sizes follow LUNA16's: ln-mean 1.99, ln-sd 0.47, from 3 to 30 mm.
    """
    z, y, x = (float(value) for value in centre_index_zyx)
    kind = KINDS[int(rng.choice(len(KINDS), p=KIND_SHARES))]
    diameter_mm = _draw_diameter(rng)
    hu, core_hu, core_share = _draw_attenuation(rng, kind)
    spiky = diameter_mm > 6 and kind != "calcified" and rng.random() < 0.3
    return NoduleSpec(
        (z, y, x),
        diameter_mm,
        kind,
        lobulation=float(rng.uniform(0.04, 0.1) if rng.random() < 0.5 else rng.uniform(0.1, 0.25)),
        spiculation=int(rng.integers(10, 35)) if spiky else 0,
        hu=hu,
        core_hu=core_hu,
        core_share=core_share,
        shape_seed=int(rng.integers(2**31)),
    )


def insert_nodule(
    volume_hu: Floats,
    spec: NoduleSpec,
    *,
    spacing_mm: Triple,
    psf_fwhm_mm: Triple,
    noise_sd_hu: float,
    rng: np.random.Generator,
) -> None:
    """Put a nodule into a volume, in place, touching only the box around it.

    The smooth part of the image moves to the nodule's attenuation where that is
    brighter, so that walls and vessels are not eaten; the rough part, the scanner's
    noise, stays as it is, so that neither seam nor clean interior gives it away.

    Args:
        volume_hu: (z, y, x); the nodule may reach over its border.
        noise_sd_hu: Noise of the volume; 0 before noise is added.
    """
    shape_rng = np.random.default_rng(spec.shape_seed)
    shape = _shape(shape_rng, spec)
    box = _box(volume_hu.shape, spec, shape.reach_mm, spacing_mm, psf_fwhm_mm)
    if box is None:
        return
    image = _split(volume_hu[box], spacing_mm, noise_sd_hu)
    inside = _cover(shape, spec.centre_index_zyx, box, spacing_mm, psf_fwhm_mm)
    least_hu = image.lung_hu + LEAST_CONTRAST_HU
    target = np.full(inside.shape, max(spec.hu, least_hu), np.float32)
    if spec.core_share > 0:
        core, centre = _core(shape_rng, spec, spacing_mm)
        weight = _cover(core, centre, box, spacing_mm, psf_fwhm_mm)
        target += weight * (max(spec.core_hu, least_hu) - target)
    target += _texture(rng, target.shape, spacing_mm)
    np.maximum(target, image.base, out=target)
    volume_hu[box] += inside * (target + image.noise - volume_hu[box])


def insert_sham(
    volume_hu: Floats,
    spec: NoduleSpec,
    *,
    spacing_mm: Triple,
    psf_fwhm_mm: Triple,
    noise_sd_hu: float,
    rng: np.random.Generator,
) -> None:
    """Blend plain parenchyma in where a nodule would go: a detector must not see it."""
    shape = _shape(np.random.default_rng(spec.shape_seed), spec)
    box = _box(volume_hu.shape, spec, shape.reach_mm, spacing_mm, psf_fwhm_mm)
    if box is None:
        return
    image = _split(volume_hu[box], spacing_mm, noise_sd_hu)
    inside = _cover(shape, spec.centre_index_zyx, box, spacing_mm, psf_fwhm_mm)
    # Walls and large vessels stay: only lung is replaced by lung.
    inside *= np.clip((-450 - image.base) / 150, 0, 1)
    target = image.lung_hu + image.noise + np.float32(rng.uniform(-15, 15))
    volume_hu[box] += inside * (target - volume_hu[box])


def draw_site(
    rng: np.random.Generator,
    volume_hu: Floats,
    lung_mask: NDArray[np.bool_],
    *,
    spacing_mm: Triple = (1.0, 1.0, 1.0),
) -> Triple | None:
    """Draw where a nodule may be centred: isolated, beside a vessel or at the wall.

    Args:
        lung_mask: (z, y, x); vessels inside lungs count as lung.

    Returns:
        A voxel index (z, y, x) with fractions, or None when no place was found.
    """
    first = SITE_KINDS[int(rng.choice(3, p=SITE_SHARES))]
    for kind in (first, "isolated", "vascular"):
        site = find_site(rng, volume_hu, lung_mask, kind=kind, spacing_mm=spacing_mm)
        if site is not None:
            return site
    return None


def find_site(
    rng: np.random.Generator,
    volume_hu: Floats,
    lung_mask: NDArray[np.bool_],
    *,
    kind: SiteKind,
    spacing_mm: Triple = (1.0, 1.0, 1.0),
) -> Triple | None:
    """Look for a place of one kind; None when a hundred tries found none."""
    candidates = lung_mask & (volume_hu > -600) if kind == "vascular" else lung_mask
    places = np.flatnonzero(candidates)
    if not places.size:
        return None
    ways = _directions(rng, 100)
    step = 1 / np.array(spacing_mm)
    for place, way in zip(rng.choice(places, size=100), ways, strict=True):
        start = np.array(np.unravel_index(place, lung_mask.shape)) + rng.uniform(-0.5, 0.5, 3)
        site = _FINDERS[kind](start, way * step, rng, volume_hu, lung_mask)
        if site is not None and _is_in(site, lung_mask):
            z, y, x = site
            return float(z), float(y), float(x)
    return None


Place = NDArray[np.float64]


def _isolated(
    start: Place,
    mm: Place,
    rng: np.random.Generator,
    volume_hu: Floats,
    lung_mask: NDArray[np.bool_],
) -> Place | None:
    """Air on all sides: nothing bright at 0 and at 4 mm along three axes."""
    length_mm = np.linalg.norm(mm)
    around = np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)]) * 4 * length_mm
    for offset in around:
        place = start + offset
        if not _is_in(place, lung_mask) or volume_hu[tuple(np.rint(place).astype(int))] > -600:
            return None
    return start


def _vascular(
    start: Place,
    mm: Place,
    rng: np.random.Generator,
    volume_hu: Floats,
    lung_mask: NDArray[np.bool_],
) -> Place | None:
    """Beside a vessel: a little off a bright voxel."""
    return start + mm * rng.uniform(0.5, 4)


def _pleural(
    start: Place,
    mm: Place,
    rng: np.random.Generator,
    volume_hu: Floats,
    lung_mask: NDArray[np.bool_],
) -> Place | None:
    """On the wall: walk out of the lung into soft tissue, then a little back."""
    for steps in range(1, 80):
        place = start + steps * mm
        if _is_in(place, lung_mask):
            continue
        beyond = np.rint(place + 2 * mm).astype(int)
        if (beyond < 0).any() or (beyond >= lung_mask.shape).any():
            return None
        is_wall = volume_hu[tuple(beyond)] > -250
        return place - mm * rng.uniform(0.5, 4) if is_wall else None
    return None


_FINDERS: dict[SiteKind, Callable[..., Place | None]] = {
    "isolated": _isolated,
    "vascular": _vascular,
    "pleural": _pleural,
}


def _is_in(place: Place, mask: NDArray[np.bool_]) -> bool:
    index = np.rint(place).astype(int)
    inside = (index >= 0).all() and (index < mask.shape).all()
    return bool(inside and mask[tuple(index)])


def _directions(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    vectors = rng.standard_normal((count, 3))
    unit: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _draw_diameter(rng: np.random.Generator) -> float:
    while True:
        diameter_mm = float(rng.lognormal(LOG_DIAMETER_MEAN, LOG_DIAMETER_SD))
        if SMALLEST_MM <= diameter_mm <= LARGEST_MM:
            return diameter_mm


def _draw_attenuation(rng: np.random.Generator, kind: Kind) -> tuple[float, float, float]:
    """Return the attenuation of the whole and of the core, and the core's share."""
    if kind == "solid":
        hu = float(rng.uniform(-50, 60))
        return hu, hu, 0.0
    if kind == "ground_glass":
        hu = float(rng.uniform(-750, -450))
        return hu, hu, 0.0
    if kind == "part_solid":
        return (
            float(rng.uniform(-650, -450)),
            float(rng.uniform(0, 40)),
            float(rng.uniform(0.3, 0.75)),
        )
    return float(rng.uniform(0, 150)), float(rng.uniform(300, 900)), float(rng.uniform(0.5, 0.95))


def _shape(rng: np.random.Generator, spec: NoduleSpec) -> Shape:
    return draw_shape(
        rng,
        diameter_mm=spec.diameter_mm,
        lobulation=spec.lobulation,
        n_spicules=spec.spiculation,
    )


def _core(rng: np.random.Generator, spec: NoduleSpec, spacing_mm: Triple) -> tuple[Shape, Triple]:
    """Return the outline of the core and its centre, off the middle as far as there is room."""
    diameter_mm = spec.diameter_mm * spec.core_share
    shape = draw_shape(rng, diameter_mm=diameter_mm, lobulation=0.1, n_spicules=0)
    room_mm = (spec.diameter_mm - diameter_mm) / 2 * 0.6
    shift = rng.uniform(-1, 1, 3) / np.sqrt(3) * room_mm / np.array(spacing_mm)
    z, y, x = (float(a + b) for a, b in zip(spec.centre_index_zyx, shift, strict=True))
    return shape, (z, y, x)


def _box(
    shape: tuple[int, ...],
    spec: NoduleSpec,
    reach_mm: float,
    spacing_mm: Triple,
    psf_fwhm_mm: Triple,
) -> tuple[slice, slice, slice] | None:
    slices = []
    for axis in range(3):
        reach = (reach_mm + 1.3 * psf_fwhm_mm[axis] + 1.5) / spacing_mm[axis]
        centre = spec.centre_index_zyx[axis]
        low = max(0, int(np.floor(centre - reach)))
        high = min(shape[axis], int(np.ceil(centre + reach)) + 1)
        if low >= high:
            return None
        slices.append(slice(low, high))
    return slices[0], slices[1], slices[2]


def _cover(
    shape: Shape,
    centre_zyx: Triple,
    box: tuple[slice, slice, slice],
    spacing_mm: Triple,
    psf_fwhm_mm: Triple,
) -> Floats:
    first = [(box[k].start - centre_zyx[k]) * spacing_mm[k] for k in range(3)]
    counts = [box[k].stop - box[k].start for k in range(3)]
    return blurred_cover(
        shape,
        first_mm=(first[0], first[1], first[2]),
        counts=(counts[0], counts[1], counts[2]),
        spacing_mm=spacing_mm,
        psf_fwhm_mm=psf_fwhm_mm,
    )


@dataclass(frozen=True, slots=True)
class _Image:
    """A box of the image taken apart.

    Attributes:
        base: Even parenchyma, and walls and vessels where there are such.
        noise: The rest, as far as it can be noise: in parenchyma its whole spectrum.
        lung_hu: Typical parenchyma, whatever wall or vessel the box holds.
    """

    base: Floats
    noise: Floats
    lung_hu: float


def _split(local: Floats, spacing_mm: Triple, noise_sd_hu: float) -> _Image:
    smooth = ndimage.gaussian_filter(local, [SMOOTH_MM / mm for mm in spacing_mm], mode="nearest")
    is_lung = smooth < -600
    if not is_lung.any():
        limit = np.float32(3 * noise_sd_hu)
        return _Image(smooth, np.clip(local - smooth, -limit, limit), -850.0)
    lung_hu = float(np.median(smooth[is_lung]))
    above = smooth - np.float32(lung_hu)
    # What lies within the spread of smoothed noise is noise; what is far off is anatomy.
    spread = max(_spread(smooth[is_lung]), 1.0)
    above *= np.clip((np.abs(above) - 2.5 * spread) / (2 * spread), 0, 1)
    base = above + np.float32(lung_hu)
    noise = local - base
    limit = np.float32(3 * max(_spread(noise[is_lung]), noise_sd_hu))
    return _Image(base, np.clip(noise, -limit, limit), lung_hu)


def _spread(values: Floats) -> float:
    """Return the standard deviation, blind to a few vessels: from the median deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _texture(rng: np.random.Generator, shape: tuple[int, ...], spacing_mm: Triple) -> Floats:
    """Return the unevenness of tissue: bumps of about 4 mm, 8 HU."""
    white = rng.standard_normal(shape, dtype=np.float32)
    rough: Floats = ndimage.gaussian_filter(white, [1.5 / mm for mm in spacing_mm], mode="wrap")
    rough *= np.float32(8 / max(float(rough.std()), 1e-6))
    return rough
