"""Pictures for people who watch a training."""

from __future__ import annotations

import numpy as np
import pytest

from medvit.report.nodule_pictures import MARK, TRUTH, Ring, froc_picture, slice_picture


def colours(picture: np.ndarray, colour: str) -> np.ndarray:
    """Return where (y, x) a picture has a colour, rows of (n, 2)."""
    return np.argwhere((picture == np.array(list(bytes.fromhex(colour[1:])))).all(axis=-1))


def test_rings_lie_around_their_places_and_grey_is_a_window() -> None:
    hu = np.full((80, 100), -1000.0)
    hu[:, 90:] = [200.0] * 10
    picture = slice_picture(
        hu, [Ring((30, 40), 10, is_truth=True), Ring((60, 20), 10, text="0.90")]
    )
    assert picture.shape == (80, 100, 3)
    assert picture[0, 0].tolist() == [0, 0, 0]
    assert picture[0, 99].tolist() == [255, 255, 255]
    truth = colours(picture, TRUTH)
    assert truth.mean(axis=0) == pytest.approx([40, 30], abs=0.6)
    away = np.linalg.norm(truth - [40, 30], axis=1)
    assert 6 < away.min() < away.max() < 10.5
    assert len(colours(picture, MARK)) > len(truth)  # a larger ring, and its text


def test_a_better_curve_is_drawn_higher() -> None:
    rates = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    low, high = (froc_picture(rates, [share] * 7, title="") for share in (0.2, 0.9))
    height = [colours(picture, "#0b6e99")[:, 0].mean() for picture in (low, high)]
    assert height[0] - height[1] == pytest.approx(0.7 * 360, abs=3)
