"""Made nodules put into a CT volume."""

from __future__ import annotations

from functools import partial

import numpy as np

from medvit.data.blending import (
    LEAST_CONTRAST_HU,
    Floats,
    Scanner,
    Triple,
    grain,
    raise_to,
    split,
)
from medvit.data.nodule_shape import Shape, cover, draw_shape
from medvit.data.nodule_spec import NoduleSpec


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
    scanner = Scanner(spacing_mm, psf_fwhm_mm, noise_sd_hu)
    soft = scanner.softer(spec.margin_mm)
    shape_rng = np.random.default_rng(spec.shape_seed)
    shape = outline(shape_rng, spec)
    box = soft.box(spec.centre_index_zyx, shape.reach_mm, volume_hu.shape)
    if box is None:
        return
    layers = split(volume_hu[box], scanner)
    inside = soft.cover(partial(cover, shape), spec.centre_index_zyx, box)
    least_hu = layers.lung_hu + LEAST_CONTRAST_HU
    target = np.full(inside.shape, max(spec.hu, least_hu), np.float32)
    target += grain(rng, target.shape, spacing_mm=spacing_mm, sd_hu=spec.uneven_hu)
    if spec.core_share > 0:
        core, centre = _core(shape_rng, spec, spacing_mm)
        weight = scanner.cover(partial(cover, core), centre, box)
        target += weight * (max(spec.core_hu, least_hu) - target)
    raise_to(volume_hu, box, inside, target, layers)


def outline(rng: np.random.Generator, spec: NoduleSpec) -> Shape:
    """Draw the outline of a nodule."""
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
