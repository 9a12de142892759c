from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from medvit.data.crop_augmentation import Crop, CropSettings, augment
from medvit.data.draws import DrawKey
from medvit.data.nodule_crops import Background, draw_crop, draw_lung_voxel, draw_start, scale_hu
from medvit.data.nodule_items import CropPhase, NoduleCrops, collate
from medvit.data.packed_mask import PackedMask
from medvit.learn.centre_loss import centre_loss, centre_targets
from medvit.learn.nodules import NoduleObjective
from medvit.models.builders import nodule_detector
from medvit.volume.resample import VoxelGrid
from medvit.volume.volume import AIR_HU, volume_of

PLAIN = CropSettings(side=32, cut_share=0, thick_share=0, most_distractors=1)


def lung_block(ignored: list[list[float]] | None = None, *, spacing_mm: float = 1.0) -> Background:
    """Return a block of parenchyma in a wall of muscle."""
    rng = np.random.default_rng(0)
    hu = rng.normal(-850, 20, (48, 48, 48)).astype(np.int16)
    lungs = np.zeros(hu.shape, dtype=bool)
    lungs[6:42, 6:42, 6:42] = True
    hu[~lungs] = 40
    rows = np.array(ignored or [], np.float32).reshape(-1, 4)
    affine = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]) * 1.0
    affine[:3, :3] *= spacing_mm
    voxels = VoxelGrid.of(volume_of(hu, affine), spacing_mm)
    return Background(voxels, PackedMask.of(lungs), spacing_mm, (1.0, 0.9, 0.9), 20.0, rows)


def drawn(background: Background, settings: CropSettings, rng: np.random.Generator) -> Crop:
    start = draw_start(draw_lung_voxel(background, rng), settings.side, rng)
    return draw_crop(background, start, settings, rng)


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
    crop = drawn(background, PLAIN, rng)
    augment(crop, PLAIN, rng, spacing_mm=1.0)
    assert crop.hu.shape == (32, 32, 32)
    for *centre, _ in crop.nodules:
        assert brightest(crop.hu, np.array(centre)) > -780


def test_the_same_item_is_the_same_and_another_is_not() -> None:
    crops = NoduleCrops([CropPhase((lung_block(),), PLAIN)], seed=5)
    first, again, other = (crops[DrawKey(0, number)].pixels for number in (3, 3, 4))
    assert first.equal(again)
    assert not first.equal(other)


def test_the_phase_chooses_backgrounds_and_size_of_crops() -> None:
    coarse = CropPhase((lung_block(spacing_mm=2.0),), CropSettings(side=32))
    fine = CropPhase((lung_block(),), CropSettings(side=40))
    crops = NoduleCrops([coarse, fine], seed=5)
    items = [crops[DrawKey(phase, 0)] for phase in (0, 1)]
    assert [item.spacing_mm for item in items] == [2.0, 1.0]
    assert [tuple(item.pixels.shape) for item in items] == [(1, 32, 32, 32), (1, 40, 40, 40)]


def test_a_batch_of_two_spacings_is_refused() -> None:
    coarse = CropPhase((lung_block(spacing_mm=2.0),), PLAIN)
    crops = NoduleCrops([coarse, CropPhase((lung_block(),), PLAIN)], seed=5)
    with pytest.raises(ValueError, match=r"one spacing, got \[1.0, 2.0\] mm"):
        collate([crops[DrawKey(0, 0)], crops[DrawKey(1, 0)]])


def test_the_objective_draws_targets_at_the_spacing_of_the_batch() -> None:
    crops = NoduleCrops([CropPhase((lung_block(spacing_mm=2.0),), PLAIN)], seed=5)
    batch = collate([crops[DrawKey(0, 0)], crops[DrawKey(0, 1)]])
    batch = batch._replace(nodules=[torch.tensor([[15.0, 15.0, 15.0, 24.0]])] * 2)
    torch.manual_seed(0)
    detector = nodule_detector(backbone="swin3d_tiny", width=8).eval()
    with torch.no_grad():
        maps = detector(batch.pixels)
        losses = {}
        for spacing_mm in (1.0, 2.0):
            grid = (16, 16, 16)
            targets = centre_targets(
                batch.nodules, batch.ignored, grid=grid, stride=2, spacing_mm=spacing_mm
            )
            losses[spacing_mm] = float(centre_loss(maps, targets)["loss"])
        found = float(NoduleObjective(detector)(batch)["loss"])
    assert found == losses[2.0]
    assert found != losses[1.0]


def test_nodules_keep_away_from_known_lesions() -> None:
    background = lung_block(ignored=[[24, 24, 24, 16]])
    for seed in range(20):
        crop = drawn(background, PLAIN, np.random.default_rng(seed))
        for row in crop.nodules:
            away = np.linalg.norm(row[:3] - crop.ignored[0, :3])
            assert away > 8


def test_an_end_of_the_scan_takes_its_nodules_along() -> None:
    settings = CropSettings(side=32, cut_share=1, thick_share=0)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        crop = Crop(
            np.full((32, 32, 32), -850, np.float32),
            np.array([[z, 16, 16, 5] for z in range(32)], np.float32),
            np.zeros((0, 4), np.float32),
        )
        augment(crop, settings, rng, spacing_mm=1.0)
        is_air = (crop.hu == AIR_HU).all(axis=(1, 2))
        assert not is_air[np.rint(crop.nodules[:, 0]).astype(int)].any()
        assert len(crop.nodules) == (~is_air).sum()


def test_a_crop_is_the_scan_where_nothing_was_put_in() -> None:
    ramp = np.arange(48**3, dtype=np.float32).reshape(48, 48, 48) / 50 - 1000  # each value once
    affine = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]) * 1.0
    voxels = VoxelGrid.of(volume_of(ramp, affine), 1.0)
    background = replace(lung_block(), voxels=voxels)
    settings = CropSettings(side=32, most_nodules=0, most_distractors=0)
    hu = drawn(background, settings, np.random.default_rng(3)).hu
    inside = np.argwhere(hu >= -1000)[0]
    start = np.argwhere(ramp == hu[tuple(inside)])[0] - inside
    z, y, x = (slice(int(first), int(first) + 32) for first in start)
    assert np.array_equal(hu, voxels.read(z, y, x))
    assert (hu == AIR_HU).any() == bool((start < 0).any() or (start > 16).any())
