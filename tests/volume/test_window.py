from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.volume.window import BONE, LUNG, PRESETS, SOFT_TISSUE, Window


def test_the_presets_are_those_of_a_reading_room() -> None:
    assert (LUNG.centre_hu, LUNG.width_hu) == (-600, 1500)
    assert (SOFT_TISSUE.centre_hu, SOFT_TISSUE.width_hu) == (40, 400)
    assert (BONE.centre_hu, BONE.width_hu) == (480, 2500)
    assert list(PRESETS) == ["lung", "soft tissue", "bone", "liver", "brain"]


def test_the_ends_of_a_window_are_black_and_white() -> None:
    grey = SOFT_TISSUE.apply(np.array([[-1000, -160, 40, 240, 3000]], dtype=np.int16))
    assert grey.tolist() == [[0, 0, 128, 255, 255]]
    assert grey.dtype == np.uint8


def test_values_that_are_no_numbers_are_drawn_at_an_end() -> None:
    grey = LUNG.apply(np.array([np.nan, np.inf, -np.inf]))
    assert grey.tolist() == [0, 255, 0]


@given(
    st.lists(st.floats(-3000, 3000, width=32), min_size=2, max_size=20),
    st.floats(-500, 500),
    st.floats(1, 4000),
)
def test_brighter_values_are_never_drawn_darker(
    values: list[float], centre_hu: float, width_hu: float
) -> None:
    grey = Window(centre_hu, width_hu).apply(np.sort(np.array(values, dtype=np.float32)))
    assert (np.diff(grey.astype(int)) >= 0).all()


@pytest.mark.parametrize("width_hu", [0.0, -5.0, float("nan")])
def test_a_window_without_width_is_refused(width_hu: float) -> None:
    with pytest.raises(ValueError, match=f"must be positive, got {width_hu} HU"):
        Window(0, width_hu)
