"""One made person: the lengths, angles and attenuations that a chest is drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RECESS_MM = 72.0
"""How far the lungs reach down behind the diaphragm, below its right dome."""


@dataclass(frozen=True, slots=True)
class Body:
    """Lengths in mm, in the patient's frame with its origin between the hila.

    Attributes:
        half_width_mm: From the midline to the inner chest wall.
        half_depth_mm: From front to back of the inner chest, halved.
        apex_mm: Height of the lung tops.
        right_dome_mm: Height of the right diaphragm; the left one lies lower.
        heart_mm: Largest radius of the heart.
        fat_mm: Thickness of fat under the skin.
        muscle_mm: Thickness of muscle on the ribs.
        breast_mm: Size of the breasts; 0 without.
        blood_hu: 40 without contrast, 120 to 350 with it.
        lung_hu: Parenchyma half-way between front and back.
        gradient_hu: Rise of parenchyma from front to back.
        emphysema: Share of lung that is destroyed.
        n_tips: Vessel tips in each lung and tree.
        turn: Rotation on the table, in radians.
        has_scars, has_caps, has_plaques, has_dependent_band: Common things that are no nodules.
    """

    half_width_mm: float
    half_depth_mm: float
    apex_mm: float
    right_dome_mm: float
    heart_mm: float
    fat_mm: float
    muscle_mm: float
    breast_mm: float
    blood_hu: float
    lung_hu: float
    gradient_hu: float
    emphysema: float
    n_tips: int
    turn: float
    has_scars: bool
    has_caps: bool
    has_plaques: bool
    has_dependent_band: bool


def draw_body(rng: np.random.Generator) -> Body:
    """Draw an adult."""
    half_width_mm = float(rng.uniform(104, 138))
    return Body(
        half_width_mm=half_width_mm,
        half_depth_mm=float(half_width_mm * rng.uniform(0.62, 0.76)),
        apex_mm=float(rng.uniform(82, 112)),
        right_dome_mm=float(rng.uniform(-88, -42)),
        heart_mm=float(rng.uniform(52, 68)),
        fat_mm=float(rng.choice([rng.uniform(4, 12), rng.uniform(10, 35)])),
        muscle_mm=float(rng.uniform(9, 18)),
        breast_mm=float(rng.choice([0.0, rng.uniform(5, 45)])),
        blood_hu=float(rng.choice([rng.uniform(32, 48), rng.uniform(110, 330)])),
        lung_hu=float(rng.uniform(-885, -810)),
        gradient_hu=float(rng.uniform(30, 100)),
        emphysema=float(rng.choice([0.0, rng.uniform(0.02, 0.3)], p=[0.75, 0.25])),
        n_tips=int(rng.integers(1300, 2600)),
        turn=float(np.deg2rad(rng.normal(0, 3))),
        has_scars=bool(rng.random() < 0.6),
        has_caps=bool(rng.random() < 0.4),
        has_plaques=bool(rng.random() < 0.25),
        has_dependent_band=bool(rng.random() < 0.5),
    )
