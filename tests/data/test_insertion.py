"""Nodules that are put in measure what they claim, touch nothing else and leave no seam."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from medvit.data.insertion import insert_nodule
from medvit.data.nodule_spec import Kind, NoduleSpec, draw_nodule
from tests.make.seam import auc, look

Floats = NDArray[np.float32]
Triple = tuple[float, float, float]

LUNG_HU, WALL_HU = -850.0, 45.0
PSF_MM = (1.0, 0.9, 0.9)
CUBIC: Triple = (1.0, 1.0, 1.0)


def lung(shape: tuple[int, ...], hu: float = LUNG_HU) -> Floats:
    return np.full(shape, hu, np.float32)


def put(volume: Floats, spec: NoduleSpec, spacing_mm: Triple = CUBIC, noise: float = 0) -> None:
    psf = (max(PSF_MM[0], spacing_mm[0]), *PSF_MM[1:])
    rng = np.random.default_rng(0)
    insert_nodule(volume, spec, spacing_mm=spacing_mm, psf_fwhm_mm=psf, noise_sd_hu=noise, rng=rng)


def measured_mm(volume: Floats, spec: NoduleSpec, spacing_mm: Triple) -> float:
    """Return the diameter of the disc as large as what is brighter than half-way up."""
    z, y, x = (round(c) for c in spec.centre_index_zyx)
    peak = ndimage.uniform_filter(volume[z], 3)[y, x] if spec.diameter_mm > 5 else volume[z].max()
    parts, _ = ndimage.label(volume[z] > (LUNG_HU + peak) / 2)
    pixels = int((parts == parts[y, x]).sum())
    return float(2 * np.sqrt(pixels * spacing_mm[1] * spacing_mm[2] / np.pi))


@pytest.mark.parametrize("spacing_mm", [CUBIC, (0.7, 0.7, 0.7), (2.5, 0.7, 0.7)])
@pytest.mark.parametrize("diameter_mm", [4.0, 8.0, 20.0])
@pytest.mark.parametrize("lobulation", [0.03, 0.2])
def test_the_diameter_at_half_contrast_is_the_one_asked_for(
    spacing_mm: Triple, diameter_mm: float, lobulation: float
) -> None:
    shape = [2 * int(22 / mm) + 1 for mm in spacing_mm]
    volume = lung(tuple(shape))
    middle = tuple(count // 2 for count in shape)
    spec = NoduleSpec(
        (middle[0], middle[1] + 0.3, middle[2] - 0.2),
        diameter_mm,
        "solid",
        lobulation=lobulation,
        shape_seed=3,
    )
    put(volume, spec, spacing_mm)
    error_mm = abs(measured_mm(volume, spec, spacing_mm) - diameter_mm)
    assert error_mm <= max(0.5, 0.1 * diameter_mm)


@pytest.mark.parametrize(
    ("kind", "low_hu", "high_hu"),
    [("solid", -60, 70), ("ground_glass", -755, -440), ("calcified", 200, 950)],
)
def test_the_core_has_the_attenuation_of_its_kind(kind: Kind, low_hu: int, high_hu: int) -> None:
    rng = np.random.default_rng(5)
    drawn = [draw_nodule(rng, centre_index_zyx=(20, 20, 20)) for _ in range(200)]
    for spec in [each for each in drawn if each.kind == kind][:4]:
        volume = lung((41, 41, 41))
        put(volume, replace(spec, diameter_mm=16, core_share=min(1, 2 * spec.core_share)))
        middle = float(volume[19:22, 19:22, 19:22].mean())
        assert low_hu <= middle <= high_hu


def test_a_part_solid_nodule_has_a_core_in_a_halo() -> None:
    volume = lung((41, 41, 41))
    spec = NoduleSpec((20, 20, 20), 18, "part_solid", hu=-550, core_hu=20, core_share=0.4)
    put(volume, spec)
    halo = volume[20, 20, [13, 27]].mean()
    assert volume.max() > -60
    assert -650 < halo < -400


def test_nothing_changes_outside_the_box() -> None:
    volume = lung((40, 40, 40))
    put(volume, NoduleSpec((20, 20, 20), 6, "solid"))
    changed = np.argwhere(volume != LUNG_HU)
    assert np.abs(changed - 20).max() <= 9


def test_a_nodule_may_reach_over_the_border_or_lie_beyond_it() -> None:
    volume = lung((20, 20, 20))
    put(volume, NoduleSpec((0, 10, 19), 8, "solid"))
    assert volume[0, 10, 19] > -200
    before = volume.copy()
    put(volume, NoduleSpec((90, 10, 10), 8, "solid"))
    np.testing.assert_array_equal(volume, before)


def test_a_wall_is_not_eaten() -> None:
    volume = lung((41, 41, 41))
    volume[:, :, 24:] = WALL_HU
    before = volume.copy()
    put(volume, NoduleSpec((20, 20, 23), 10, "ground_glass", hu=-600))
    np.testing.assert_allclose(volume[:, :, 27:], before[:, :, 27:], atol=1)
    assert volume[20, 20, 20] > -700


def test_noise_inside_is_as_strong_as_outside() -> None:
    rng = np.random.default_rng(1)
    volume = (lung((61, 61, 61)) + rng.normal(0, 25, (61, 61, 61))).astype(np.float32)
    put(volume, NoduleSpec((30, 30, 30), 24, "solid"), noise=25)

    def roughness(block: Floats) -> float:
        return float((block - ndimage.uniform_filter(block, 3))[1:-1, 1:-1, 1:-1].std())

    inside, outside = volume[25:36, 25:36, 25:36], volume[2:13, 2:13, 2:13]
    assert roughness(inside) == pytest.approx(roughness(outside), rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("off_centre", [0.0, 0.5])
def test_a_classifier_does_not_tell_nodules_put_in_before_noise_from_those_after(
    off_centre: float,
) -> None:
    rng = np.random.default_rng(2)
    looks: dict[bool, list[list[float]]] = {True: [], False: []}
    for number in range(300):
        white = rng.standard_normal((2, 27, 27, 27), dtype=np.float32)
        noise = ndimage.gaussian_filter(white[0], (0, 0.5, 0.5))
        noise *= 22 / noise.std()
        mottle = ndimage.gaussian_filter(white[1], 1.2)
        volume = LUNG_HU + (14 / mottle.std()) * mottle
        diameter_mm = float(rng.uniform(6, 14))
        z, y, x = (float(c) for c in rng.uniform(12.5, 13.5, 3).tolist())
        spec = NoduleSpec((z, y, x), diameter_mm, "solid", shape_seed=number)
        is_late = bool(number % 2)
        volume += noise * is_late
        put(volume, spec, noise=22 * is_late)
        volume += noise * (not is_late)
        aside = round(off_centre * diameter_mm)
        looks[is_late].append(look(volume[10:17, 10:17, 10 + aside : 17 + aside]))
    assert auc(looks[True], looks[False]) < 0.65


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), diameter_mm=st.floats(3, 30), spiculation=st.integers(0, 30))
def test_inserted_values_stay_finite_and_believable(
    seed: int, diameter_mm: float, spiculation: int
) -> None:
    volume = lung((24, 24, 24))
    spec = NoduleSpec(
        (12, 12, 12),
        diameter_mm,
        "solid",
        lobulation=0.25,
        spiculation=spiculation,
        shape_seed=seed,
    )
    put(volume, spec)
    assert np.isfinite(volume).all()
    assert volume.min() >= LUNG_HU - 60
    assert volume.max() < 120


def test_the_same_spec_and_generator_give_the_same_voxels() -> None:
    one, two = lung((30, 30, 30)), lung((30, 30, 30))
    spec = draw_nodule(np.random.default_rng(3), centre_index_zyx=(15, 15, 15))
    put(one, spec)
    put(two, spec)
    np.testing.assert_array_equal(one, two)
