"""Lesions measured from their voxels: balls of known size in made lung."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from medvit.geometry import affine_from
from medvit.volume.lesion import measure_lesion
from medvit.volume.pyramid import Pyramid
from medvit.volume.volume import Hu, Volume, volume_of

SIDE_MM = (1.0, 0.7, 0.7)
SHAPE = (56, 80, 80)
MIDDLE_MM = (28.0, 28.0, 28.0)
SIGMA_MM = 0.45


def away_mm(centre_mm: tuple[float, float, float] = MIDDLE_MM) -> NDArray[np.float64]:
    """Return the distance of every voxel from a point (x, y, z)."""
    axes = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    z, y, x = (a * mm - c for a, mm, c in zip(axes, SIDE_MM, centre_mm[::-1], strict=True))
    return np.asarray(np.sqrt(z**2 + y**2 + x**2))


def scanned(hu: NDArray[np.float64], *, noise_hu: float = 15.0) -> Pyramid:
    """Return a scan of what is there, blurred and noisy."""
    rng = np.random.default_rng(3)
    blurred = ndimage.gaussian_filter(hu, [SIGMA_MM / mm for mm in SIDE_MM])
    noisy = np.rint(blurred + rng.normal(0, noise_hu, SHAPE))
    affine = affine_from((0, 0, 0), (0, 0, SIDE_MM[0]), (0, SIDE_MM[1], 0), (SIDE_MM[2], 0, 0))
    return Pyramid((volume_of(noisy, affine),), (), ())


def ball(diameter_mm: float, hu: float) -> NDArray[np.float64]:
    return np.where(away_mm() < diameter_mm / 2, hu, -850.0)


@pytest.mark.parametrize("diameter_mm", [5.0, 9.0, 18.0])
@pytest.mark.parametrize("hu", [20.0, -600.0, 500.0])
def test_a_ball_is_as_wide_as_it_is(diameter_mm: float, hu: float) -> None:
    mark = (29.0, 27.2, 28.6)
    found = measure_lesion(scanned(ball(diameter_mm, hu)), mark, 1.3 * diameter_mm)
    assert not found.doubt
    assert found.diameter_mm == pytest.approx(diameter_mm, abs=max(0.5, 0.05 * diameter_mm))
    np.testing.assert_allclose(found.centre_lps_mm, MIDDLE_MM, atol=0.4)
    assert (found.solid_share > 0.9, found.calcified_share > 0.5) == (hu > -300, hu > 200)


def test_a_core_does_not_hide_the_halo_around_it() -> None:
    hu = ball(14.0, -620.0)
    hu[away_mm() < 4.0] = 20.0
    found = measure_lesion(scanned(hu), MIDDLE_MM, 10.0)
    assert found.diameter_mm == pytest.approx(14.0, abs=1.0)
    assert 0.05 < found.solid_share < 0.5


def test_what_touches_the_wall_is_cut_off_from_it() -> None:
    hu = ball(12.0, 20.0)
    hu[:, :, int((MIDDLE_MM[0] + 4.0) / SIDE_MM[2]) :] = 40.0
    found = measure_lesion(scanned(hu), MIDDLE_MM, 11.0)
    assert not found.doubt
    assert found.diameter_mm == pytest.approx(12.0, abs=1.5)


@pytest.mark.parametrize(
    ("hu", "doubts"),
    [
        (np.full(SHAPE, -850.0), {"faint", "no_edge", "moved", "disagrees", "ragged"}),
        (np.full(SHAPE, 40.0), {"no_lung"}),
    ],
)
def test_where_nothing_is_the_measurement_says_so(
    hu: NDArray[np.float64], doubts: set[str]
) -> None:
    assert measure_lesion(scanned(hu), MIDDLE_MM, 8.0).doubt in doubts


def test_a_lesion_far_from_the_estimate_is_in_doubt() -> None:
    assert measure_lesion(scanned(ball(6.0, 20.0)), MIDDLE_MM, 20.0).doubt == "disagrees"


def test_only_the_box_around_the_mark_is_read() -> None:
    (level,) = scanned(ball(6.0, 20.0)).levels
    asked: list[int] = []

    def read_block(z: slice, y: slice, x: slice) -> Hu:
        box = level.read_block(z, y, x)
        asked.append(box.size)
        return box

    watched: Volume = replace(level, read_block=read_block)
    measure_lesion(Pyramid((watched,), (), ()), MIDDLE_MM, 6.0)
    assert 0 < sum(asked) < 0.4 * np.prod(SHAPE)


def test_the_edge_of_a_scan_is_no_error() -> None:
    found = measure_lesion(scanned(ball(8.0, 20.0)), (-3.0, 20.0, 60.0), 8.0)
    assert found.doubt
