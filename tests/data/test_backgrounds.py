from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medvit.data.backgrounds import (
    chest_background,
    native_background,
    noise_of,
    noise_sd,
    scan_background,
)
from medvit.data.backgrounds import (
    make_chest as make_phantom_chest,
)
from medvit.data.packed_mask import PackedMask
from medvit.errors import InputError
from medvit.geometry import affine_from, index_to_lps
from medvit.volume.resample import VoxelGrid
from medvit.volume.volume import Volume, volume_of
from tests.make.chest import make_chest


def flipped(volume: Volume) -> Volume:
    """Return the same patient with slices from head to foot."""
    hu = volume.read_all()[::-1].copy()
    affine = volume.affine_lps.copy()
    affine[:3, 3] += affine[:3, 0] * (hu.shape[0] - 1)
    affine[:3, 0] *= -1
    return volume_of(hu, affine)


def test_lungs_lie_on_air_whatever_the_order_of_slices() -> None:
    volume = make_chest()
    for view in (volume, flipped(volume)):
        background = native_background(view, [])
        assert background.lungs.any()
        assert np.median(background.hu[background.lungs]) < -700


def test_known_lesions_move_with_the_grid() -> None:
    volume = make_chest()
    middle = np.array(volume.shape) // 2
    x_mm, y_mm, z_mm = index_to_lps(volume.affine_lps, middle)
    native = native_background(volume, [(x_mm, y_mm, z_mm, 12.0)])
    assert native.ignored[0].tolist() == pytest.approx([*middle, 12.0])
    assert not native.free()[tuple(middle)]
    grid = VoxelGrid.of(volume, 1.0)
    scan = scan_background(volume, [(x_mm, y_mm, z_mm, 12.0)], on=grid)
    near = native.hu[tuple(middle)]
    z, y, x = np.rint(scan.ignored[0, :3]).astype(int).tolist()
    around = scan.voxels.read(slice(z - 1, z + 2), slice(y - 1, y + 2), slice(x - 1, x + 2))
    assert around.min() - 50 <= near <= around.max() + 50


def test_noise_is_what_a_blur_takes_away() -> None:
    rng = np.random.default_rng(0)
    hu = rng.normal(-850, 20, (20, 60, 60))
    everywhere = np.ones(hu.shape, dtype=bool)
    hu[:, 30:] += 600  # a wall is no noise
    assert noise_sd(hu, everywhere) == pytest.approx(20, rel=0.15)


def test_without_quiet_lung_the_noise_is_a_usual_one() -> None:
    hu = np.full((4, 8, 8), 40.0)
    assert noise_sd(hu, np.ones(hu.shape, dtype=bool)) == 20.0


@pytest.mark.parametrize("spacing_mm", [2.0, 3.0])
def test_lungs_found_in_slabs_are_those_found_at_once(spacing_mm: float) -> None:
    volume = make_chest()
    grid = VoxelGrid.of(volume, spacing_mm)
    scan = scan_background(volume, [], on=grid)
    lungs, shape = scan.lungs.all(), scan.voxels.shape
    hu = scan.voxels.read(*(slice(0, length) for length in shape))
    smooth = ndimage.gaussian_filter(hu, 1.5 / spacing_mm)
    near_air = ndimage.binary_dilation(smooth < -500, iterations=max(1, round(2 / spacing_mm)))
    assert lungs.any()
    assert not (lungs & ~near_air)[8:-8].any()
    assert np.median(hu[lungs]) < -700


def test_a_coarse_grid_is_at_least_as_blurred_as_its_voxels() -> None:
    volume = make_chest()
    scans = [scan_background(volume, [], on=VoxelGrid.of(volume, mm)) for mm in (1.0, 3.0)]
    assert scans[0].psf_fwhm_mm == (4.0, 0.9, 0.9)
    assert scans[1].psf_fwhm_mm == pytest.approx((5.0, np.hypot(0.9, 3), np.hypot(0.9, 3)))


def test_noise_of_a_scan_is_taken_from_slices_all_over_it() -> None:
    rng = np.random.default_rng(0)
    hu = rng.normal(-850, 20, (100, 40, 40))
    affine = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]) * 1.0
    grid = VoxelGrid.of(volume_of(hu, affine), 1.0)
    found = noise_of(grid, PackedMask.of(np.ones(hu.shape, dtype=bool)))
    assert found == pytest.approx(20, rel=0.15)


def test_a_scan_without_lungs_is_no_background() -> None:
    volume = volume_of(np.full((10, 20, 20), -1000.0), make_chest().affine_lps)
    with pytest.raises(InputError, match="needs lungs: no lungs found") as error:
        scan_background(volume, [], on=VoxelGrid.of(volume, 3.0))
    assert "data.scans" in error.value.hint


@pytest.mark.slow
def test_a_made_chest_is_cut_to_its_lungs_at_any_spacing() -> None:
    chest = make_phantom_chest(3, spacing_mm=2.0)
    for spacing_mm in (2.0, 4.0):
        on = VoxelGrid.of(chest.volume, spacing_mm)
        background = chest_background(
            chest.lungs, chest.psf_fwhm_mm, lungs_affine=chest.volume.affine_lps, on=on
        )
        lungs = background.lungs.all()
        assert lungs.shape == on.shape
        assert lungs.mean() > 0.2
        hu = on.read(*(slice(0, length) for length in on.shape))
        assert np.median(hu[lungs]) < -700
        assert len(background.ignored) == 0


def test_an_affine_in_another_axis_order_is_followed() -> None:
    volume = make_chest()
    hu = volume.read_all().transpose(1, 0, 2).copy()  # coronal slices
    old = volume.affine_lps
    turned = affine_from(tuple(old[:3, 3]), tuple(old[:3, 1]), tuple(old[:3, 0]), tuple(old[:3, 2]))
    background = native_background(volume_of(hu, turned), [])
    assert np.median(background.hu[background.lungs]) < -700
