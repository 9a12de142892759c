"""A made chest CT with nodules at known places; the same spec and seed give the same voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from medvit.data.chest.anatomy import lung_distance, tissue_hu
from medvit.data.chest.body import RECESS_MM, Body, draw_body
from medvit.data.chest.fields import Floats, Space, filled, refine
from medvit.data.chest.parenchyma import draw_fissures, draw_lines, draw_lines_into, lung_hu
from medvit.data.chest.scanner import add_noise, blur, sharpen
from medvit.data.chest.skeleton import Skeleton, draw_skeleton
from medvit.data.distractors import DistractorKind, draw_distractor, insert_distractor
from medvit.data.insertion import insert_nodule
from medvit.data.nodule_sites import SiteKind, draw_site_kind, find_site
from medvit.data.nodule_spec import KINDS, Kind, NoduleSpec, draw_nodule
from medvit.geometry import Affine, affine_from, index_to_lps

Triple = tuple[float, float, float]

SLICE_STEPS_MM = (0.5, 0.75, 1.0, 1.25, 2.0, 2.5, 3.0, 5.0)
WIDE_SHARE = 0.4
SLAB_SHARE = 0.1
CORTEX_HU = 650.0

COARSE_MM = 2.5
"""Organs are drawn on this grid and refined; vessels and airways on the final one."""


@dataclass(frozen=True, slots=True)
class PhantomSpec:
    """One phantom: who lies there, what is scanned, and how.

    Attributes:
        shape: Voxels (z, y, x).
        spacing_mm: Spacing (z, y, x).
        origin_mm: Position (z, y, x) of the first voxel in LPS mm.
        psf_fwhm_mm: Blur (z, y, x); along z the slice thickness.
        sharpness: 0 for a soft tissue kernel, 1 for a lung kernel.
        noise_sd_hu: Spread of the noise.
        n_nodules: Nodules to be planted.
        n_distractors: Things to be planted that are no nodules.
        kinds: Nodules to draw from.
        is_round: Whether the reconstruction ends in a circle, with air beyond it.
    """

    body: Body
    shape: tuple[int, int, int]
    spacing_mm: Triple
    origin_mm: Triple
    psf_fwhm_mm: Triple
    sharpness: float
    noise_sd_hu: float
    n_nodules: int
    n_distractors: int = 0
    kinds: tuple[Kind, ...] = KINDS
    is_round: bool = False


@dataclass(frozen=True, slots=True)
class PlantedNodule:
    """A nodule at a known place; the centre is (x, y, z) in LPS mm."""

    centre_lps_mm: Triple
    diameter_mm: float
    kind: Kind
    site: SiteKind


@dataclass(frozen=True, slots=True)
class PlantedDistractor:
    """Something at a known place that is no nodule; the centre is (x, y, z) in LPS mm."""

    centre_lps_mm: Triple
    kind: DistractorKind


@dataclass(frozen=True, slots=True)
class Phantom:
    """A made scan.

    Attributes:
        hu: (z, y, x), int16.
        lung_mask: (z, y, x); vessels inside lungs belong to it, the windpipe does not.
    """

    hu: NDArray[np.int16]
    lung_mask: NDArray[np.bool_]
    spacing_mm: Triple
    affine_lps: Affine
    nodules: tuple[PlantedNodule, ...]
    distractors: tuple[PlantedDistractor, ...] = ()


def draw_phantom(
    rng: np.random.Generator,
    *,
    spacing_mm: Triple | None = None,
    shape: tuple[int, int, int] | None = None,
    slice_mm: float | None = None,
    image_px: int = 320,
    n_nodules: int | None = None,
) -> PhantomSpec:
    """Draw a body and a scan of it.

    Args:
        spacing_mm: By default slices 0.5 to 5 mm apart, and pixels such that a square
            image of `image_px` holds the lungs, or in four of ten the body and the table.
        shape: Voxels to scan, centred on the lungs; by default all of both lungs
            and a margin drawn at random, or, in one scan of ten without a given
            spacing, a slab of it.
        slice_mm: Distance of slices where no spacing is given.
        n_nodules: By default 1 to 6; as many distractors are planted.
    """
    body = draw_body(rng)
    count = int(rng.integers(1, 7)) if n_nodules is None else n_nodules
    low, high = _lung_box(body)
    margin = np.array([rng.uniform(4, 14), rng.uniform(12, 40), rng.uniform(12, 40)])
    middle = (low + high) / 2 + np.array([0, rng.uniform(-6, 6), rng.uniform(-6, 6)])
    extent = high - low + 2 * margin
    is_wide = spacing_mm is None and bool(rng.random() < WIDE_SHARE)
    if spacing_mm is None:
        extent[1:] = extent[1:].max() + (rng.uniform(90, 150) if is_wide else 0)
        pixel_mm = round(float(extent[1]) / image_px, 4)
        step_mm = float(rng.choice(SLICE_STEPS_MM))
        spacing_mm = (slice_mm or step_mm, pixel_mm, pixel_mm)
        if rng.random() < SLAB_SHARE:
            extent[0] = rng.uniform(50, 90)
            middle[0] += rng.uniform(-40, 50)
    # A little less than a voxel is no reason for one more.
    counts = shape or tuple(
        int(np.ceil(e / mm - 0.05)) for e, mm in zip(extent, spacing_mm, strict=True)
    )
    z, y, x = (float(v) for v in middle - (np.array(counts) - 1) / 2 * np.array(spacing_mm))
    in_plane_mm = float(rng.uniform(0.8, 1.2))
    sharpness = float(rng.uniform(0, 1))
    return PhantomSpec(
        body,
        (counts[0], counts[1], counts[2]),
        spacing_mm,
        (z, y, x),
        (max(spacing_mm[0], float(rng.uniform(0.8, 1.5))), in_plane_mm, in_plane_mm),
        sharpness,
        float(rng.uniform(9, 22) + 14 * sharpness * rng.random()),
        count,
        count,
        is_round=is_wide,
    )


def make_phantom(spec: PhantomSpec, rng: np.random.Generator) -> Phantom:
    """Make the voxels of a phantom and plant its nodules."""
    hu, lungs = _draw_chest(spec, rng)
    nodules, distractors = _plant(hu, lungs, spec, rng)
    add_noise(
        hu, step_mm=spec.spacing_mm, sd_hu=spec.noise_sd_hu, sharpness=spec.sharpness, rng=rng
    )
    if spec.is_round:
        hu[:, _is_beyond_circle(spec.shape)] = -1024
    np.clip(hu, -1024, 3071, out=hu)
    z, y, x = spec.spacing_mm
    origin_z, origin_y, origin_x = spec.origin_mm
    affine = affine_from((origin_x, origin_y, origin_z), (0, 0, z), (0, y, 0), (x, 0, 0))
    return Phantom(
        np.rint(hu).astype(np.int16),
        lungs,
        spec.spacing_mm,
        affine,
        tuple(_planted(nodule, site, affine) for nodule, site in nodules),
        tuple(PlantedDistractor(_lps(at, affine), kind) for kind, at in distractors),
    )


def _draw_chest(spec: PhantomSpec, rng: np.random.Generator) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the scanned chest without noise, and where its lungs are."""
    sub = max(1, round(spec.spacing_mm[0] / 1.25))
    z_mm, y_mm, x_mm = spec.spacing_mm
    space = Space(
        spec.origin_mm,
        (z_mm / sub, y_mm, x_mm),
        ((spec.shape[0] - 1) * sub + 1, *spec.shape[1:]),
        spec.body.turn,
    )
    coarse = space.coarser(COARSE_MM)
    skeleton = draw_skeleton(spec.body, rng)
    distance = lung_distance(coarse, spec.body, skeleton, rng)
    lines = draw_lines(distance, coarse, spec.body, rng)
    inner = lung_hu(distance, coarse, space, spec.body, rng)
    draw_fissures(inner, space, rng)
    np.maximum(inner, -1000, out=inner)
    hu = refine(tissue_hu(coarse, spec.body, skeleton, rng), coarse, space)
    _draw_bones(hu, skeleton, coarse, space, rng)
    lungs = refine(distance, coarse, space)
    inner -= hu
    inner *= filled(lungs, 1.0)
    hu += inner
    draw_lines_into(hu, lines, space, blood_hu=spec.body.blood_hu)
    hu = blur(hu, psf_fwhm_mm=spec.psf_fwhm_mm, step_mm=space.step_mm)[::sub]
    hu = sharpen(hu, step_mm=spec.spacing_mm, strength=0.6 * max(0, spec.sharpness - 0.5))
    return np.ascontiguousarray(hu), np.ascontiguousarray((lungs < 0)[::sub])


def _draw_bones(
    hu: Floats, skeleton: Skeleton, coarse: Space, space: Space, rng: np.random.Generator
) -> None:
    """Draw cortex and marrow, in place, only where bones are."""
    distance = refine(skeleton.distance(coarse), coarse, space)
    seen = np.flatnonzero(distance < 1)
    near = distance.ravel()[seen]
    bone = refine(skeleton.marrow_hu(coarse, rng), coarse, space).ravel()[seen]
    bone += filled(np.abs(near + 0.5) - 0.6, 1.0) * (CORTEX_HU - bone)
    flat = hu.reshape(-1)
    flat[seen] += filled(near, 1.0) * (bone - flat[seen])


def _plant(
    hu: Floats, lungs: NDArray[np.bool_], spec: PhantomSpec, rng: np.random.Generator
) -> tuple[list[tuple[NoduleSpec, SiteKind]], list[tuple[DistractorKind, Triple]]]:
    """Put nodules in, then as many distractors, each clear of the others; stop after many misses.

    A kind of place that is not found is tried again, so that kinds keep their shares.
    """
    planted: list[tuple[NoduleSpec, SiteKind]] = []
    decoys: list[tuple[DistractorKind, Triple]] = []
    free = lungs.copy()
    scanner = _Scan(spacing_mm=spec.spacing_mm, psf_fwhm_mm=spec.psf_fwhm_mm, noise_sd_hu=0)
    for _ in range(20 * spec.n_nodules):
        if len(planted) == spec.n_nodules:
            break
        kind = draw_site_kind(rng)
        site = find_site(rng, hu, free, kind=kind, spacing_mm=spec.spacing_mm)
        if site is None:
            continue
        nodule = draw_nodule(rng, centre_index_zyx=site, kinds=spec.kinds)
        if not all(_is_clear(nodule, other, spec.spacing_mm) for other, _ in planted):
            continue
        insert_nodule(hu, nodule, **scanner, rng=rng)
        planted.append((nodule, kind))
    for nodule, _ in planted:
        _clear(free, nodule, spec.spacing_mm)
    for _ in range(3 * spec.n_distractors):
        if len(decoys) == spec.n_distractors:
            break
        decoy = draw_distractor(rng, hu, free, spacing_mm=spec.spacing_mm)
        if decoy is not None:
            insert_distractor(hu, decoy, **scanner, rng=rng)
            decoys.append((decoy.kind, decoy.centre_index_zyx))
    return planted, decoys


class _Scan(TypedDict):
    spacing_mm: Triple
    psf_fwhm_mm: Triple
    noise_sd_hu: float


def _is_clear(one: NoduleSpec, other: NoduleSpec, spacing_mm: Triple) -> bool:
    apart = (np.array(one.centre_index_zyx) - other.centre_index_zyx) * spacing_mm
    return float(np.linalg.norm(apart)) > (one.diameter_mm + other.diameter_mm) / 2 + 8


def _clear(free: NDArray[np.bool_], nodule: NoduleSpec, spacing_mm: Triple) -> None:
    """Take a ball around a nodule, with room for a distractor, out of a mask, in place."""
    axes = np.ogrid[tuple(slice(0, length) for length in free.shape)]
    away_mm2 = sum(
        ((axis - at) * mm) ** 2
        for axis, at, mm in zip(axes, nodule.centre_index_zyx, spacing_mm, strict=True)
    )
    free[np.asarray(away_mm2 <= (nodule.diameter_mm / 2 + 18) ** 2)] = False


def _planted(nodule: NoduleSpec, site: SiteKind, affine: Affine) -> PlantedNodule:
    centre = _lps(nodule.centre_index_zyx, affine)
    return PlantedNodule(centre, nodule.diameter_mm, nodule.kind, site)


def _lps(index_zyx: Triple, affine: Affine) -> Triple:
    x, y, z = (float(value) for value in index_to_lps(affine, index_zyx))
    return x, y, z


def _is_beyond_circle(shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Return which pixels (y, x) lie outside the circle that a scanner reconstructs."""
    y, x = (np.linspace(-1, 1, count) for count in shape[1:])
    beyond: NDArray[np.bool_] = np.hypot(y[:, None], x[None]) > 1
    return beyond


def _lung_box(body: Body) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the corners (z, y, x) mm of a box around both lungs."""
    low = np.array([body.right_dome_mm - RECESS_MM, -body.half_depth_mm, -body.half_width_mm])
    high = np.array([body.apex_mm, body.half_depth_mm + 4, body.half_width_mm])
    return low, high
