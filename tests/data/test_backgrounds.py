from __future__ import annotations

import numpy as np
import pytest

from medvit.data.backgrounds import native_background, noise_sd, phantom_background, scan_background
from medvit.geometry import affine_from, index_to_lps
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
    scan = scan_background(volume, [(x_mm, y_mm, z_mm, 12.0)])
    near = native.hu[tuple(middle)]
    z, y, x = np.rint(scan.ignored[0, :3]).astype(int)
    assert scan.hu[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2].min() - 50 <= near
    assert near <= scan.hu[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2].max() + 50


def test_noise_is_what_a_blur_takes_away() -> None:
    rng = np.random.default_rng(0)
    hu = rng.normal(-850, 20, (20, 60, 60))
    everywhere = np.ones(hu.shape, dtype=bool)
    hu[:, 30:] += 600  # a wall is no noise
    assert noise_sd(hu, everywhere) == pytest.approx(20, rel=0.15)


def test_without_quiet_lung_the_noise_is_a_usual_one() -> None:
    hu = np.full((4, 8, 8), 40.0)
    assert noise_sd(hu, np.ones(hu.shape, dtype=bool)) == 20.0


@pytest.mark.slow
def test_a_phantom_background_is_cut_to_its_lungs() -> None:
    background = phantom_background(3, spacing_mm=2.0)
    assert background.hu.shape == background.lungs.shape
    assert background.lungs.mean() > 0.2
    assert np.median(background.hu[background.lungs]) < -700
    assert len(background.ignored) == 0


def test_an_affine_in_another_axis_order_is_followed() -> None:
    volume = make_chest()
    hu = volume.read_all().transpose(1, 0, 2).copy()  # coronal slices
    old = volume.affine_lps
    turned = affine_from(tuple(old[:3, 3]), tuple(old[:3, 1]), tuple(old[:3, 0]), tuple(old[:3, 2]))
    background = native_background(volume_of(hu, turned), [])
    assert np.median(background.hu[background.lungs]) < -700
