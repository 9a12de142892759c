"""Views of grey images: what is drawn is what is seen, for a batch as for one image."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medvit.learn.pretraining.surface_views import (
    SurfaceViewSettings,
    ViewDraws,
    apply_views,
    draw_pairs,
    draw_views,
    overlap,
)

SIDE = 32
STILL = SurfaceViewSettings(SIDE, min_area=1.0, flip=False).only_cropped()


def images(count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, SIDE, SIDE), generator=generator).to(torch.uint8)


def still(count: int) -> ViewDraws:
    """Return draws that show whole images as they are."""
    drawn = draw_views(count, STILL, generator=torch.Generator())
    whole = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(count, 4)
    return drawn._replace(crops=whole)


def drawn(seed: int, count: int = 3, **changes: float) -> ViewDraws:
    asked = replace(SurfaceViewSettings(SIDE, rotate=True), **changes)  # type: ignore[arg-type]
    return draw_views(count, asked, generator=torch.Generator().manual_seed(seed))


def test_a_draw_of_nothing_gives_the_image() -> None:
    shown = apply_views(images(), still(3), side_px=SIDE)
    torch.testing.assert_close(shown[:, 0], images().float() / 255, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("mirrored", "transposed", "expected"),
    [
        ((True, False), False, lambda x: x.flip(-2)),
        ((False, True), False, lambda x: x.flip(-1)),
        ((False, False), True, lambda x: x.mT),
        ((True, False), True, lambda x: x.rot90(-1, (-2, -1))),
    ],
)
def test_mirrors_and_turns_are_exact(
    mirrored: tuple[bool, bool], transposed: bool, expected: object
) -> None:
    turned = still(3)._replace(
        mirrored=torch.tensor([mirrored] * 3), transposed=torch.tensor([transposed] * 3)
    )
    shown = apply_views(images(), turned, side_px=SIDE)
    grey = images()[:, None].float() / 255
    torch.testing.assert_close(shown, expected(grey), atol=1e-5, rtol=0)  # type: ignore[operator]


def test_a_crop_shows_its_part_of_the_image() -> None:
    corner = torch.tensor([[0.5, 0.25, 0.5, 0.5]])
    shown = apply_views(images(1), still(1)._replace(crops=corner), side_px=16)
    torch.testing.assert_close(shown[0, 0], images(1)[0, 16:, 8:24].float() / 255)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_a_batch_is_seen_as_its_images_one_by_one(seed: int) -> None:
    draws = drawn(seed, noise_std=0.0)
    whole = apply_views(images(), draws, side_px=24)
    for place in range(3):
        parts = {name: part[place : place + 1] for name, part in list(draws._asdict().items())[:-1]}
        own = draws._replace(**parts)
        alone = apply_views(images()[place : place + 1], own, side_px=24)
        torch.testing.assert_close(alone[0], whole[place], atol=1e-6, rtol=0)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), area=st.floats(0.1, 1), least=st.floats(0, 1))
def test_crops_stay_inside_keep_their_area_and_overlap(
    seed: int, area: float, least: float
) -> None:
    asked = SurfaceViewSettings(
        SIDE, min_area=area, local_share=0.5, local_area=(0.1, 0.2), min_overlap=least
    )
    pair = draw_pairs(20, asked, generator=torch.Generator().manual_seed(seed))
    for draws in pair:
        ends = draws.crops[:, :2] + draws.crops[:, 2:]
        assert float(draws.crops.min()) >= 0
        assert float(ends.max()) <= 1 + 1e-6
    areas = pair[0].crops[:, 2:].prod(dim=1)
    assert float(areas.min()) >= area - 1e-5
    assert float(overlap(pair[0].crops, pair[1].crops).min()) >= least - 1e-5


def test_half_of_the_second_crops_are_small_when_asked() -> None:
    asked = SurfaceViewSettings(SIDE, local_share=0.5, min_overlap=0.0)
    pair = draw_pairs(2000, asked, generator=torch.Generator().manual_seed(1))
    small = (pair[1].crops[:, 2:].prod(dim=1) < 0.41).float().mean()
    assert float(small) == pytest.approx(0.5, abs=0.04)
    assert float(pair[0].crops[:, 2:].prod(dim=1).min()) > 0.49


def test_the_same_draw_gives_the_same_view_and_another_one_another() -> None:
    first, again, other = (apply_views(images(), drawn(seed), side_px=SIDE) for seed in (1, 1, 2))
    assert first.equal(again)
    assert not first.equal(other)
    assert float(first.min()) >= 0
    assert float(first.max()) <= 1


def test_contrast_and_light_are_what_was_drawn() -> None:
    flat = torch.full((1, SIDE, SIDE), 128, dtype=torch.uint8)
    lit = still(1)._replace(
        contrast=torch.tensor([2.0]),
        brightness=torch.tensor([0.1]),
        slopes=torch.tensor([[0.2, 0.0]]),
    )
    shown = apply_views(flat, lit, side_px=SIDE)[0, 0]
    torch.testing.assert_close(shown[0, 0], torch.tensor(128 / 255 + 0.1 - 0.1))
    torch.testing.assert_close(shown[-1, 5], torch.tensor(128 / 255 + 0.1 + 0.1))


def test_blur_keeps_the_mean_and_spreads_a_point_by_its_gaussian() -> None:
    point = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
    point[0, 16, 16] = 255
    blurred = still(1)._replace(blur_sigma_px=torch.tensor([0.8]))
    shown = apply_views(point, blurred, side_px=SIDE)[0, 0]
    weights = torch.exp(-(torch.arange(-2.0, 3) ** 2) / (2 * 0.64))
    weights = weights / weights.sum()
    torch.testing.assert_close(shown[14:19, 14:19], weights[:, None] * weights)
    assert float(shown.sum()) == pytest.approx(1, abs=1e-5)


def test_areas_and_overlaps_out_of_range_are_refused_with_their_values() -> None:
    with pytest.raises(ValueError, match=r"0\.8 to 0\.5 and local 0\.15"):
        SurfaceViewSettings(SIDE, min_area=0.8, max_area=0.5)
    with pytest.raises(ValueError, match=r"got 1\.5 and 0"):
        SurfaceViewSettings(SIDE, min_overlap=1.5)
