"""Distractors look like what they are called, and shams like nothing at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from medvit.data.distractors import (
    Distractor,
    DistractorKind,
    draw_distractor,
    insert_distractor,
)
from medvit.data.nodule_spec import NoduleSpec, draw_nodule
from tests.make.seam import auc, look

Floats = NDArray[np.float32]
LUNG_HU, WALL_HU = -850.0, 45.0
SIDE = 56


def walled() -> tuple[Floats, NDArray[np.bool_]]:
    """Return lung below a wall of twelve rows, 1 mm a voxel."""
    volume = np.full((SIDE, SIDE, SIDE), LUNG_HU, np.float32)
    volume[:, :12] = WALL_HU
    return volume, volume < -500


def put(volume: Floats, distractor: Distractor, noise: float = 0) -> None:
    insert_distractor(
        volume,
        distractor,
        spacing_mm=(1.0, 1.0, 1.0),
        psf_fwhm_mm=(1.0, 0.9, 0.9),
        noise_sd_hu=noise,
        rng=np.random.default_rng(0),
    )


def drawn(kind: DistractorKind, seed: int) -> tuple[Floats, Floats, Distractor]:
    """Return the volume before and after, and what was put in."""
    volume, mask = walled()
    rng = np.random.default_rng(seed)
    distractor = draw_distractor(rng, volume, mask, spacing_mm=(1.0, 1.0, 1.0), kind=kind)
    assert distractor is not None
    before = volume.copy()
    put(volume, distractor)
    return before, volume, distractor


def principal_mm(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the spreads along the three main axes, the longest first."""
    spread = np.linalg.eigvalsh(np.cov(np.argwhere(mask).T))[::-1]
    return np.asarray(np.sqrt(np.maximum(spread, 0)), np.float64)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_vessel_bend_is_thin_and_curved_and_no_ball(seed: int) -> None:
    before, after, _ = drawn("vessel_bend", seed)
    added = (after - before) > 200
    assert added.any()
    longest, _, shortest = principal_mm(added)
    assert longest > 2.5 * shortest


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_scar_reaches_the_wall(seed: int) -> None:
    before, after, _ = drawn("scar", seed)
    added = (after - before) > 100
    assert added[:, 12:16].any()
    longest, _, shortest = principal_mm(added)
    assert longest > 2 * shortest


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_rib_end_is_bone_on_the_wall(seed: int) -> None:
    _, after, distractor = drawn("rib_end", seed)
    assert after.max() == pytest.approx(distractor.hu, abs=200)
    assert (after[:, 8:14] > 120).any()
    assert not (after[:, 24:] > -500).any()


def test_a_nodule_is_kept_off_the_knee_of_a_bend_but_may_cover_a_sham() -> None:
    _, _, bend = drawn("vessel_bend", 0)
    _, _, sham = drawn("sham", 0)
    thickest_mm = max(float(line[:, 3].max()) for line in bend.lines)
    assert bend.clear_mm == pytest.approx(2 * thickest_mm + 4)
    assert sham.clear_mm == 0


def test_without_lung_there_is_no_distractor() -> None:
    volume, mask = walled()
    for seed in range(4):
        rng = np.random.default_rng(seed)
        nothing = draw_distractor(rng, volume, mask & False, spacing_mm=(1.0, 1.0, 1.0))
        assert nothing is None


def _patches(kind: str, off_centre: float) -> tuple[list[list[float]], list[list[float]]]:
    """Return looks at 300 places with an insertion of parenchyma, and at 300 without."""
    rng = np.random.default_rng(2)
    looks: dict[bool, list[list[float]]] = {True: [], False: []}
    for number in range(600):
        white = rng.standard_normal((2, 27, 27, 27), dtype=np.float32)
        noise = ndimage.gaussian_filter(white[0], (0, 0.5, 0.5))
        mottle = ndimage.gaussian_filter(white[1], 1.2)
        volume = LUNG_HU + (22 / noise.std()) * noise + (14 / mottle.std()) * mottle
        spec = draw_nodule(rng, centre_index_zyx=rng.uniform(12.5, 13.5, 3).tolist())
        spec = replace(spec, diameter_mm=min(spec.diameter_mm, 12))
        if number % 2:
            _insert(volume, spec, kind)
        aside = round(off_centre * spec.diameter_mm)
        looks[bool(number % 2)].append(look(volume[10:17, 10:17, 10 + aside : 17 + aside]))
    return looks[True], looks[False]


def _insert(volume: Floats, spec: NoduleSpec, kind: str) -> None:
    if kind == "sham":
        put(volume, Distractor("sham", spec.centre_index_zyx, sham=spec), noise=22)
        return
    axes = np.ogrid[:27, :27, :27]
    far = sum((axis - at) ** 2 for axis, at in zip(axes, spec.centre_index_zyx, strict=True))
    ball = np.asarray(far < (spec.diameter_mm / 2) ** 2)
    volume[ball] = ndimage.gaussian_filter(volume, 0.6)[ball]


@pytest.mark.slow
@pytest.mark.parametrize("off_centre", [0.0, 0.5])
def test_a_classifier_does_not_find_shams_and_would_find_a_careless_one(off_centre: float) -> None:
    assert auc(*_patches("sham", off_centre)) < 0.65
    assert auc(*_patches("smoothed", off_centre)) > 0.9
