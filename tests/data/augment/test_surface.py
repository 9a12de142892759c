"""Views of surface images: repeatable, square, and never far from the image."""

from __future__ import annotations

import numpy as np
import pytest

from medvit.data.augment.surface import SurfaceViews, ViewSettings, view_seed

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 56), dtype=np.uint8)


def test_the_same_seed_gives_the_same_view_whatever_came_before() -> None:
    views = SurfaceViews(ViewSettings(side_px=24))
    first = views.view(IMAGE, seed=7)
    views.view(IMAGE, seed=8)
    assert np.array_equal(views.view(IMAGE, seed=7), first)
    assert not np.array_equal(views.view(IMAGE, seed=9), first)


def test_a_view_is_square_and_uint8() -> None:
    view = SurfaceViews(ViewSettings(side_px=24)).view(IMAGE, seed=1)
    assert (view.shape, view.dtype) == ((24, 24), np.dtype("uint8"))


def test_a_flat_image_stays_flat_but_for_noise() -> None:
    flat = np.full((32, 32), 100, dtype=np.uint8)
    views = SurfaceViews(ViewSettings(side_px=16, noise_std=0.0))
    assert all(np.ptp(views.view(flat, seed=seed)) == 0 for seed in range(20))


def test_without_rotation_a_vertical_line_stays_vertical() -> None:
    line = np.full((32, 32), 100, dtype=np.uint8)
    line[:, 15:17] = 200
    views = SurfaceViews(ViewSettings(side_px=32, noise_std=0.0))
    for seed in range(20):
        assert np.ptp(views.view(line, seed=seed), axis=0).max() <= 3


def test_with_rotation_it_may_lie() -> None:
    line = np.full((32, 32), 100, dtype=np.uint8)
    line[:, 15:17] = 200
    views = SurfaceViews(ViewSettings(side_px=32, noise_std=0.0, rotate=True))
    assert any(np.ptp(views.view(line, seed=seed), axis=0).max() > 50 for seed in range(20))


def test_seeds_of_different_draws_differ() -> None:
    seeds = {view_seed(0, epoch, index) for epoch in range(10) for index in range(100)}
    assert len(seeds) == 1000
    assert max(seeds) < 2**31


@pytest.mark.parametrize(("side_px", "min_area"), [(8, 0.5), (32, 0.1), (32, 1.5)])
def test_views_that_lose_the_defect_are_refused(side_px: int, min_area: float) -> None:
    with pytest.raises(ValueError, match=f"got {side_px} and {min_area}"):
        ViewSettings(side_px=side_px, min_area=min_area)
