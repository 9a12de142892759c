from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.data.augment.boxes import (
    BoxView,
    BoxViews,
    BoxViewSettings,
    apply_view,
    draw_view,
    view_boxes,
)

SIZE = (64, 96)
SETTINGS = BoxViewSettings(contrast=0, brightness=0, noise_std=0, turns=True)


def bright(box: tuple[int, int, int, int]) -> np.ndarray:
    image = np.zeros(SIZE, np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 255
    return image


corners = st.tuples(st.integers(0, 80), st.integers(0, 50), *[st.integers(6, 40)] * 2).map(
    lambda b: (b[0], b[1], min(SIZE[1], b[0] + b[2]), min(SIZE[0], b[1] + b[3]))
)


@given(corners, st.integers(0, 2**32 - 1))
def test_boxes_go_where_their_pixels_go(box: tuple[int, int, int, int], seed: int) -> None:
    view = draw_view(SETTINGS, size_px=SIZE, rng=np.random.default_rng(seed))
    seen = apply_view(bright(box), view)
    assert seen.shape == (SIZE[::-1] if view.turned else SIZE)
    moved, which = view_boxes(np.array([box], float), view, size_px=SIZE, least_shown=0.05)
    if not len(which):
        return
    x0, y0, x1, y1 = moved[0]
    if min(x1 - x0, y1 - y0) < 3:
        return  # thinner than the blur of the interpolation
    # The rim of a smaller image is as bright as its mean; a defect is brighter than that.
    level = (255 + bright(box).mean()) / 2
    rows, columns = np.nonzero(seen > level)
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert np.abs(np.array(found) - moved[0]).max() <= 1.01


@given(st.integers(0, 2**32 - 1))
def test_the_same_generator_gives_the_same_view(seed: int) -> None:
    views = BoxViews(BoxViewSettings())
    image, boxes = bright((10, 20, 30, 50)), np.array([[10.0, 20, 30, 50]])
    one, two = (views.view(image, boxes, rng=np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])
    assert one[2].tolist() == two[2].tolist()
    assert len(one[2]) == 1  # a view shows at least one box


def test_mirroring_twice_gives_the_image_again() -> None:
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
    mirror = BoxView(mirrored=(True, True))
    assert np.array_equal(apply_view(apply_view(image, mirror), mirror), image)


def test_a_box_that_is_hardly_shown_is_left_out() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [30, 30, 60, 60]])
    view = BoxView(scale=1.0, left=-7.0)
    kept, which = view_boxes(boxes, view, size_px=SIZE, least_shown=0.4)
    assert which.tolist() == [1]  # 3 of 10 columns of the first are shown
    assert kept.tolist() == [[23.0, 30.0, 53.0, 60.0]]


def test_an_image_without_boxes_has_views_too() -> None:
    views = BoxViews(BoxViewSettings())
    image = bright((0, 0, 8, 8))
    seen, boxes, which = views.view(image, np.empty((0, 4)), rng=np.random.default_rng(0))
    assert seen.shape == image.shape
    assert boxes.shape == (0, 4)
    assert len(which) == 0


def test_scales_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got 1\.2, 1\.1 and 0\.4"):
        BoxViewSettings(least_scale=1.2, most_scale=1.1)
