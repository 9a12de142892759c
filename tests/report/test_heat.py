"""Heat over an image: none changes nothing, the strongest is red and lets the image through."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from medvit.report.heat import HOT, OPACITY, under_heat


def test_without_heat_an_image_is_as_it_was() -> None:
    plain = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8))
    assert under_heat(plain, np.zeros((8, 12), np.float32)).tobytes() == plain.tobytes()


@pytest.mark.parametrize("grey", [0, 200])
def test_the_strongest_heat_mixes_its_colour_with_the_image(grey: int) -> None:
    plain = Image.new("RGB", (4, 4), (grey, grey, grey))
    found = np.asarray(under_heat(plain, np.full((2, 2), 7.0, np.float32)))  # cut off at 1
    wanted = [(1 - OPACITY) * grey + OPACITY * channel for channel in HOT]
    assert found.shape == (4, 4, 3)
    assert np.abs(found - np.array(wanted)).max() <= 1


def test_heat_falls_where_it_was_given_and_is_stretched() -> None:
    heat = np.zeros((2, 4), np.float32)
    heat[0, 3] = 1.0
    found = np.asarray(under_heat(Image.new("RGB", (40, 20)), heat)).sum(axis=2)
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert row < 10
    assert column >= 30
    assert not found[15, 10]
