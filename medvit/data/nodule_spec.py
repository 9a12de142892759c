"""What a made nodule is: kind, size, outline and attenuation, drawn as the literature has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Triple = tuple[float, float, float]
Kind = Literal["solid", "part_solid", "ground_glass", "calcified"]

KINDS: tuple[Kind, ...] = ("solid", "part_solid", "ground_glass", "calcified")
KIND_SHARES = (0.72, 0.10, 0.11, 0.07)

# Log-normal fit to the diameters of LUNA16's 1186 nodules.
LOG_DIAMETER_MEAN, LOG_DIAMETER_SD = 1.99, 0.47
SMALLEST_MM, SMALL_MM, LARGEST_MM = 3.0, 6.0, 30.0


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
        margin_mm: Width over which the edge fades, beyond the scanner's blur.
        uneven_hu: Standard deviation of the attenuation within the tissue.
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
    margin_mm: float = 0.0
    uneven_hu: float = 8.0
    shape_seed: int = 0


def draw_nodule(
    rng: np.random.Generator,
    *,
    centre_index_zyx: Sequence[float],
    kinds: Sequence[Kind] = KINDS,
    largest_mm: float = LARGEST_MM,
) -> NoduleSpec:
    """Draw size, kind and outline of a nodule at a place.

    Sizes follow LUNA16's: ln-mean 1.99, ln-sd 0.47, from 3 to 30 mm.

    Args:
        kinds: What may be drawn, in the proportions of `KIND_SHARES`.
        largest_mm: Larger ones are drawn anew.
    """
    z, y, x = (float(value) for value in centre_index_zyx)
    shares = np.array(
        [share * (kind in kinds) for kind, share in zip(KINDS, KIND_SHARES, strict=True)]
    )
    kind = KINDS[int(rng.choice(len(KINDS), p=shares / shares.sum()))]
    diameter_mm = draw_diameter(rng, largest_mm=largest_mm)
    hu, core_hu, core_share = _draw_attenuation(rng, kind)
    is_hazy = kind in {"part_solid", "ground_glass"}
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
        margin_mm=min(float(rng.uniform(0.5, 2.5)), 0.2 * diameter_mm) if is_hazy else 0.0,
        uneven_hu=float(rng.uniform(15, 50)) if is_hazy else 8.0,
        shape_seed=int(rng.integers(2**31)),
    )


def draw_hard_nodule(rng: np.random.Generator, *, centre_index_zyx: Sequence[float]) -> NoduleSpec:
    """Draw one that a detector misses most: ground glass, part-solid or at most 6 mm, evenly."""
    hard = int(rng.integers(3))
    if hard == 2:
        return draw_nodule(rng, centre_index_zyx=centre_index_zyx, largest_mm=SMALL_MM)
    kind: Kind = ("ground_glass", "part_solid")[hard]
    return draw_nodule(rng, centre_index_zyx=centre_index_zyx, kinds=(kind,))


def draw_diameter(rng: np.random.Generator, *, largest_mm: float = LARGEST_MM) -> float:
    """Draw a diameter in mm, log-normal between the least and the largest."""
    while True:
        diameter_mm = float(rng.lognormal(LOG_DIAMETER_MEAN, LOG_DIAMETER_SD))
        if SMALLEST_MM <= diameter_mm <= largest_mm:
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
