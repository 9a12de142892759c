from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medvit.geometry import index_to_lps
from medvit.volume import blobs as blobs_file
from medvit.volume.blobs import BLOB_MM, CLIP_HU, chances_of, find_blobs
from medvit.volume.morphology import Mask
from medvit.volume.region import Region
from medvit.volume.resample import VoxelGrid
from medvit.volume.slabs import iter_slabs
from medvit.volume.volume import Volume, volume_of
from tests.make.chest import centred_affine

SHAPE = (36, 30, 32)


def lung(hu: np.ndarray, steps_mm: tuple[float, float, float] = (2, 2, 2)) -> Volume:
    return volume_of(hu, centred_affine(hu.shape, steps_mm))


def everywhere(volume: Volume) -> Region:
    grid = VoxelGrid.of(volume, BLOB_MM)
    return Region(np.ones(grid.shape, dtype=bool), grid.affine_lps)


def distance_mm(shape: tuple[int, ...], centre: tuple[float, float, float]) -> np.ndarray:
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    return np.sqrt(sum((2.0 * (axis - at)) ** 2 for axis, at in zip(axes, centre, strict=True)))


def with_ball(
    diameter_mm: float, hu: float = 30.0, at: tuple[float, float, float] = (17, 14, 16)
) -> np.ndarray:
    away = distance_mm(SHAPE, at)
    share = np.clip((diameter_mm / 2 - away) / 2 + 0.5, 0, 1)
    return -850 + share * (hu + 850)


@pytest.mark.parametrize(("diameter_mm", "hu"), [(4, 30), (8, 30), (8, -600), (16, 30), (28, 30)])
def test_a_ball_is_the_most_likely_nodule_and_its_size_is_seen(
    diameter_mm: float, hu: float
) -> None:
    volume = lung(with_ball(diameter_mm, hu))
    blobs = find_blobs(volume, everywhere(volume))
    best = int(blobs.chances.argmax())
    expected = index_to_lps(volume.affine_lps, (17, 14, 16))
    assert np.linalg.norm(blobs.centres_lps_mm[best] - expected) <= 2.0
    assert blobs.diameters_mm[best] == pytest.approx(max(6.9, min(diameter_mm, 23.4)), rel=0.5)


def test_a_tube_and_a_wall_are_no_blobs() -> None:
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    tube = np.sqrt((2.0 * (y - 8)) ** 2 + (2.0 * (x - 8)) ** 2) < 4
    hu = np.where(tube | (x > 24), 40.0, -850.0) + 0.0 * z
    volume = lung(hu)
    assert not len(find_blobs(volume, everywhere(volume)).chances)


def test_a_ball_is_more_likely_than_a_stretched_one() -> None:
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    hu = with_ball(8, at=(9, 8, 8))
    stretched = ((z - 24) / 6) ** 2 + ((y - 20) / 2) ** 2 + ((x - 22) / 2) ** 2 < 1
    volume = lung(np.where(stretched, 30.0, hu))
    blobs = find_blobs(volume, everywhere(volume))
    ball = index_to_lps(volume.affine_lps, (9, 8, 8))
    near = np.linalg.norm(blobs.centres_lps_mm - ball, axis=1) < 4
    assert near.sum() == 1
    assert (~near).any()
    assert blobs.chances[near].min() > 3 * blobs.chances[~near].max()


def test_only_the_region_is_searched() -> None:
    volume = lung(with_ball(8))
    mask: Mask = np.ones(VoxelGrid.of(volume, BLOB_MM).shape, dtype=bool)
    mask[:, :, 10:] = False
    region = Region(mask, VoxelGrid.of(volume, BLOB_MM).affine_lps)
    assert not len(find_blobs(volume, region).chances)


def test_an_empty_region_has_no_blobs() -> None:
    volume = lung(with_ball(8))
    region = Region(np.zeros((4, 4, 4), dtype=bool), VoxelGrid.of(volume, 3.0).affine_lps)
    blobs = find_blobs(volume, region)
    assert (blobs.centres_lps_mm.shape, blobs.chances.shape) == ((0, 3), (0,))


def test_noise_alone_is_unlikely() -> None:
    hu = -850 + np.random.default_rng(0).normal(0, 20, SHAPE)
    volume = lung(hu)
    assert find_blobs(volume, everywhere(volume)).chances.max(initial=0.0) < 0.01


@pytest.mark.slow
@settings(deadline=None, max_examples=8)
@given(st.integers(1, 40), st.integers(1, 10**6))
def test_blobs_do_not_depend_on_slabs(slab: int, source_bytes: int) -> None:
    rng = np.random.default_rng(3)
    hu = np.clip(with_ball(9) + rng.normal(0, 60, SHAPE), -1024, 400)
    volume = lung(hu)
    region = everywhere(volume)
    whole = find_blobs(volume, region)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blobs_file, "SLAB_VOXELS", slab)
        patch.setattr(blobs_file, "iter_slabs", partial(iter_slabs, source_bytes=source_bytes))
        parts = find_blobs(volume, region)
    assert len(whole.chances) > 10
    for name in ("centres_lps_mm", "diameters_mm", "chances"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_the_end_of_a_scan_is_no_edge() -> None:
    hu = np.full(SHAPE, -850.0)
    volume = lung(hu)
    assert not len(find_blobs(volume, everywhere(volume)).chances)


def test_bone_is_no_brighter_than_muscle() -> None:
    soft = with_ball(8, CLIP_HU[1])
    one, other = (lung(hu) for hu in (soft, np.where(soft >= CLIP_HU[1], 900.0, soft)))
    assert (other.read_all() == 900).sum() > 10
    found = [find_blobs(volume, everywhere(volume)).chances for volume in (one, other)]
    np.testing.assert_array_equal(found[0], found[1])


def test_chances_by_hand() -> None:
    one = np.ones(1)
    # -6.3 + 1 * (-3.9 + 3.7 * ln e^3) + 0.0037 * -1000 - 1.35 * ln 1 = -2.8
    chance = chances_of(response_hu=np.exp(3 * one), roundness=one, hu=-1000 * one, sigma_mm=one)
    assert chance[0] == pytest.approx(1 / (1 + np.exp(2.8)))
