from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.data.box_canvas import fit_canvas, original_boxes


@given(st.integers(8, 90), st.integers(8, 90), st.integers(32, 64))
def test_a_canvas_keeps_the_form_of_an_image(height: int, width: int, side: int) -> None:
    pixels = np.full((height, width, 3), 0.25, np.float32)
    canvas = fit_canvas(pixels, side_px=side, channels="grey", multiple_px=16)
    assert max(canvas.shown) == side
    for shown, own in zip(canvas.shown, (height, width), strict=True):
        assert abs(shown - own * canvas.scale) <= 0.5
    assert all(size % 16 == 0 or size == side for size in canvas.planes.shape[1:])
    assert max(canvas.planes.shape[1:]) == side
    assert canvas.planes == pytest.approx(0.25, abs=1e-5)  # the ground is the mean


def test_an_image_of_the_right_size_is_not_resampled() -> None:
    pixels = np.random.default_rng(0).random((32, 20, 3), dtype=np.float32)
    canvas = fit_canvas(pixels, side_px=32, channels="colour", multiple_px=32)
    assert canvas.planes.shape == (3, 32, 32)
    assert np.array_equal(canvas.planes[:, :, :20], pixels.transpose(2, 0, 1))
    assert canvas.planes[1, 0, 25] == pytest.approx(float(pixels[..., 1].mean()))


@given(st.integers(16, 200), st.integers(16, 200))
def test_boxes_of_a_canvas_come_back_to_the_image(height: int, width: int) -> None:
    pixels = np.zeros((height, width, 3), np.float32)
    canvas = fit_canvas(pixels, side_px=64, channels="grey", multiple_px=32)
    box = np.array([[1.0, 2.0, width - 1.0, height - 2.0]])
    again = original_boxes(box * canvas.scale, canvas, size=(height, width))
    assert again == pytest.approx(box)
