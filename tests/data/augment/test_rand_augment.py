"""Operations of RandAugment and crops with their boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from medvit.data.augment.crops import (
    Crop,
    apply_crop,
    crop_boxes,
    draw_crop,
    kept_shares,
    multi_scale_crops,
)
from medvit.data.augment.rand_augment import (
    OPERATIONS,
    Operation,
    apply_operations,
    draw_operations,
)
from medvit.data.augment.surface import SurfaceViews, ViewSettings


def picture(*, colours: int = 0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    shape = (24, 32, colours) if colours else (24, 32)
    return rng.integers(60, 190, shape, dtype=np.uint8)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "saturation"])
def test_no_strength_is_the_identity_and_strength_keeps_the_form(name: str) -> None:
    image = picture()
    assert np.array_equal(apply_operations(image, (Operation(name, 0.0),)), image)
    for strength in (-1.0, 1.0):
        changed = apply_operations(image, (Operation(name, strength),))
        assert changed.shape == image.shape
        assert changed.dtype == np.uint8
        assert not np.array_equal(changed, image)


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_operation_changes_a_hue(name: str) -> None:
    grey = np.repeat(picture()[:, :, None], 3, axis=2)
    changed = apply_operations(grey, (Operation(name, 0.8),))
    assert np.ptp(changed.astype(int), axis=2).max() == 0


def test_a_shift_by_a_quarter_moves_columns_and_mirrors_the_border() -> None:
    image = np.tile(np.arange(32, dtype=np.uint8), (4, 1))
    moved = apply_operations(image, (Operation("translate_x", 1.0),))
    assert moved[0, 8:].tolist() == list(range(24))
    assert moved[0, :8].tolist() == list(range(8, 0, -1))
    brighter = apply_operations(image + 50, (Operation("brightness", 1.0),))
    assert brighter[0, 0] == 70  # 50 * 1.4


@settings(max_examples=30)
@given(seed=st.integers(0, 1000))
def test_a_draw_can_be_replayed_and_grey_images_draw_no_saturation(seed: int) -> None:
    one, two = (
        draw_operations(np.random.default_rng(seed), count=4, magnitude=9, is_colour=False)
        for _ in range(2)
    )
    assert one == two
    assert all(0.5 < abs(each.strength) <= 1 for each in one)
    assert "saturation" not in {each.name for each in one}


def test_views_in_colour_have_their_form_and_can_be_replayed() -> None:
    views = SurfaceViews(ViewSettings(side_px=16, rand_operations=2))
    one, two = (views.view(picture(colours=3), seed=4) for _ in range(2))
    assert one.shape == (16, 16, 3)
    assert np.array_equal(one, two)
    assert views.view(picture(), seed=4).shape == (16, 16)
    with pytest.raises(ValueError, match=r"rand_magnitude lie in 0\.\.10, got 2 and 11"):
        ViewSettings(side_px=16, rand_operations=2, rand_magnitude=11)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000))
def test_a_crop_lies_inside_and_keeps_half_of_a_box_or_everything(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 20, 2)
    boxes = np.concatenate([corner, corner + rng.uniform(1, 10, 2)])[None]
    crop = draw_crop((40, 30), area=(0.1, 0.5), rng=rng, boxes=boxes)
    assert crop.top >= 0
    assert crop.left >= 0
    assert crop.top + crop.height <= 40
    assert crop.left + crop.width <= 30
    assert kept_shares(boxes, crop)[0] >= 0.5


def test_boxes_follow_their_crop() -> None:
    crop = Crop(10, 20, 10, 20)
    boxes = np.array([[25.0, 12.0, 30.0, 15.0], [0.0, 0.0, 5.0, 5.0], [15.0, 5.0, 30.0, 15.0]])
    moved = crop_boxes(boxes, crop, side_px=40)
    assert moved.tolist() == [[10.0, 8.0, 20.0, 20.0], [0.0, 0.0, 20.0, 20.0]]
    image = np.zeros((40, 60), np.uint8)
    image[12:15, 25:30] = 255
    shown = apply_crop(image, crop, side_px=40)
    rows, columns = np.nonzero(shown > 127)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.abs(np.array(found) - moved[0]).max() <= 1


def test_crops_at_several_scales_have_their_sizes() -> None:
    rng = np.random.default_rng(0)
    wide, near = multi_scale_crops(picture(), sides_px=(20, 8), local=3, rng=rng)
    assert [each.shape for each in wide] == [(20, 20)] * 2
    assert [each.shape for each in near] == [(8, 8)] * 3
