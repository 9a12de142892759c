"""Scaling of crops: nodules stay under their labels, and diameters stay right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from medvit.data.crop_augmentation import (
    Crop,
    CropSettings,
    Rows,
    apply_scale,
    augment,
    draw_scale,
    side_before,
)

NOTHING: Rows = np.zeros((0, 4), np.float32)


def ball(side: int, centre: NDArray[np.float64], diameter: float) -> NDArray[np.float32]:
    """Return a ball of 1 in 0, with an edge as wide as a voxel."""
    axes = np.ogrid[:side, :side, :side]
    away = np.sqrt(sum((axis - at) ** 2 for axis, at in zip(axes, centre, strict=True)))
    inside: NDArray[np.float32] = np.clip(diameter / 2 - away + 0.5, 0, 1).astype(np.float32)
    return inside


def measured(hu: NDArray[np.float32]) -> list[float]:
    """Return centre and diameter of the one ball there is, from its moments."""
    places = np.stack(np.meshgrid(*map(np.arange, hu.shape), indexing="ij"))
    centre = (places * hu).sum(axis=(1, 2, 3)) / hu.sum()
    return [*centre.tolist(), float((6 * hu.sum() / np.pi) ** (1 / 3))]


@pytest.mark.parametrize("scale", [0.9, 0.97, 1.03, 1.1])
def test_a_scaled_ball_measures_what_its_label_says(scale: float) -> None:
    side = side_before(scale, 32)
    centre = np.array([side / 2 - 3, side / 2 + 2.25, side / 2])
    label = np.array([[*centre, 9]], np.float32)
    crop = Crop(ball(side, centre, 9), label, label.copy())
    apply_scale(crop, scale, side=32)
    assert crop.hu.shape == (32, 32, 32)
    assert measured(crop.hu)[:3] == pytest.approx(crop.nodules[0, :3].tolist(), abs=0.05)
    assert measured(crop.hu)[3] == pytest.approx(crop.nodules[0, 3], rel=0.02)
    assert crop.nodules[0, 3] == pytest.approx(9 * scale)
    assert np.array_equal(crop.nodules, crop.ignored)


def test_hand_computed_scaling_about_the_middle() -> None:
    ramp = np.broadcast_to(np.arange(5, dtype=np.float32), (5, 5, 5)).copy()
    crop = Crop(ramp, np.array([[2, 2, 3, 4]], np.float32), NOTHING)
    apply_scale(crop, 2.0, side=4)  # four voxels half as far apart about x = 2
    assert crop.hu[0, 0].tolist() == [1.25, 1.75, 2.25, 2.75]
    assert crop.nodules.tolist() == [[1.5, 1.5, 3.5, 8]]


def test_a_nodule_that_leaves_the_crop_is_to_be_ignored() -> None:
    rows = np.array([[2, 2, 2, 5], [0, 2, 2, 5]], np.float32)
    crop = Crop(np.zeros((5, 5, 5), np.float32), rows, NOTHING)
    apply_scale(crop, 2.0, side=4)
    assert crop.nodules.tolist() == [[1.5, 1.5, 1.5, 10]]
    assert crop.ignored.tolist() == [[-2.5, 1.5, 1.5, 10]]


@given(scale=st.floats(0.8, 1.25), side=st.integers(32, 128))
def test_no_voxel_of_a_scaled_crop_comes_from_beyond(scale: float, side: int) -> None:
    before = side_before(scale, side)
    reach = (side - 1) / 2 / scale
    assert reach <= (before - 1) / 2 <= reach + 1


@settings(max_examples=30)
@given(seed=st.integers(0, 1000))
def test_scales_stay_in_their_bounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = [draw_scale(CropSettings(scale_share=0.5), rng) for _ in range(40)]
    assert all(1 / 1.1 <= scale <= 1.1 for scale in drawn)
    assert 4 < sum(scale == 1 for scale in drawn) < 36


def test_noise_shift_and_gain_stay_within_a_scanner() -> None:
    settings = CropSettings(side=32, cut_share=0, thick_share=0)
    for seed in range(10):
        crop = Crop(np.full((32, 32, 32), -800, np.float32), NOTHING, NOTHING)
        augment(crop, settings, np.random.default_rng(seed), spacing_mm=1.0)
        assert abs(float(crop.hu.mean()) + 800) < 15 + 0.03 * 224 + 1
        assert float(crop.hu.std()) < 26
