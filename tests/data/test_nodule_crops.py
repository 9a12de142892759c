from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from medvit.data.nodule_crops import (
    AIR_HU,
    Background,
    Crop,
    CropSettings,
    FreshCrops,
    NoduleCrops,
    augment,
    draw_crop,
    load_background,
    save_background,
    scale_hu,
)

PLAIN = CropSettings(side=32, cut_share=0, thick_share=0)


def lung_block(ignored: list[list[float]] | None = None) -> Background:
    """Return a block of parenchyma in a wall of muscle."""
    rng = np.random.default_rng(0)
    hu = rng.normal(-850, 20, (48, 48, 48)).astype(np.int16)
    lungs = np.zeros(hu.shape, dtype=bool)
    lungs[6:42, 6:42, 6:42] = True
    hu[~lungs] = 40
    rows = np.array(ignored or [], np.float32).reshape(-1, 4)
    return Background(hu, lungs, 1.0, (1.0, 0.9, 0.9), 20.0, rows)


def brightest(hu: NDArray[np.float32], centre: NDArray[np.float32]) -> float:
    z, y, x = np.clip(np.rint(centre).astype(int), 0, 31)
    near = hu[max(0, z - 2) : z + 3, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
    return float(near.max())


def test_scaling_clips_to_the_range_of_the_detector() -> None:
    hu = np.array([-2000, -1000, -300, 400, 3000], np.float32)
    assert scale_hu(hu).tolist() == [0, 0, 0.5, 1, 1]


@pytest.mark.parametrize("seed", range(6))
def test_nodules_stay_under_their_labels_through_flips_and_turns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    background = lung_block()
    crop = draw_crop(background, PLAIN, rng)
    augment(crop, background, PLAIN, rng)
    assert crop.hu.shape == (32, 32, 32)
    for *centre, _ in crop.nodules:
        assert brightest(crop.hu, np.array(centre)) > -780


def test_the_same_item_is_the_same_and_another_is_not() -> None:
    crops = NoduleCrops([lung_block()], PLAIN, seed=5)
    assert crops[3][0].equal(crops[3][0])
    assert not crops[3][0].equal(crops[4][0])


def test_each_epoch_asks_for_crops_of_its_own() -> None:
    order = FreshCrops(3)
    assert list(order) == [0, 1, 2]
    order.set_epoch(2)
    assert list(order) == [6, 7, 8]


def test_nodules_keep_away_from_known_lesions() -> None:
    background = lung_block(ignored=[[24, 24, 24, 16]])
    for seed in range(20):
        crop = draw_crop(background, PLAIN, np.random.default_rng(seed))
        for row in crop.nodules:
            away = np.linalg.norm(row[:3] - crop.ignored[0, :3])
            assert away > 8


def test_an_end_of_the_scan_takes_its_nodules_along() -> None:
    settings = CropSettings(side=32, cut_share=1, thick_share=0)
    background = lung_block()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        crop = Crop(
            np.full((32, 32, 32), -850, np.float32),
            np.array([[z, 16, 16, 5] for z in range(32)], np.float32),
            np.zeros((0, 4), np.float32),
        )
        augment(crop, background, settings, rng)
        is_air = (crop.hu == AIR_HU).all(axis=(1, 2))
        assert not is_air[np.rint(crop.nodules[:, 0]).astype(int)].any()
        assert len(crop.nodules) == (~is_air).sum()


def test_a_background_comes_back_as_it_was(tmp_path: Path) -> None:
    background = lung_block(ignored=[[1, 2, 3, 4]])
    save_background(tmp_path / "one", background)
    read = load_background(tmp_path / "one")
    assert np.array_equal(read.hu, background.hu)
    assert np.array_equal(read.lungs, background.lungs)
    assert np.array_equal(read.ignored, background.ignored)
    assert (read.spacing_mm, read.psf_fwhm_mm, read.noise_sd_hu) == (1.0, (1.0, 0.9, 0.9), 20.0)
