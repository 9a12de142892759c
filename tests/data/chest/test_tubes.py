"""Tubes fill the volume that geometry says, on any grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medvit.data.chest.fields import Space
from medvit.data.chest.tubes import draw_distance, draw_share, join, tubes_along


@pytest.mark.parametrize("radius_mm", [1.5, 4.0])
@pytest.mark.parametrize("step_mm", [(1.0, 1.0, 1.0), (0.8, 0.7, 0.7)])
def test_a_tube_has_the_volume_of_a_capsule(
    radius_mm: float, step_mm: tuple[float, float, float]
) -> None:
    space = Space((-20, -20, -20), step_mm, (50, 58, 58))
    line = np.array([[-8.0, 0.2, 0.1], [8.0, 3.0, 1.0]])
    share = np.zeros(space.shape, np.float32)
    draw_share(share, tubes_along(line, np.array([radius_mm, radius_mm])), space)
    length_mm = float(np.linalg.norm(line[1] - line[0]))
    expected_mm3 = np.pi * radius_mm**2 * (length_mm + 4 / 3 * radius_mm)
    found_mm3 = float(share.sum()) * np.prod(step_mm)
    assert found_mm3 == pytest.approx(expected_mm3, rel=0.08)


@settings(max_examples=20)
@given(
    start=st.tuples(*[st.floats(-3, 3)] * 3),
    end=st.tuples(*[st.floats(-3, 3)] * 3),
    radius_mm=st.floats(0.1, 0.5),
)
def test_a_tube_thinner_than_a_voxel_keeps_its_volume(
    start: tuple[float, ...], end: tuple[float, ...], radius_mm: float
) -> None:
    space = Space((-5, -5, -5), (1, 1, 1), (11, 11, 11), turn=0.1)
    share = np.zeros(space.shape, np.float32)
    draw_share(share, tubes_along(np.array([start, end]), np.full(2, radius_mm)), space)
    length_mm = float(np.linalg.norm(np.subtract(end, start)))
    # A voxel cannot be more than full, however a short tube falls into it.
    assert share.sum() == pytest.approx(np.pi * radius_mm**2 * length_mm, rel=0.01, abs=1e-6)


def test_the_distance_is_that_to_the_nearest_tube() -> None:
    space = Space((-5, -5, -5), (1, 1, 1), (11, 11, 11))
    field = np.full(space.shape, 99, np.float32)
    line = np.array([[-9.0, 0.0, 0.0], [9.0, 0.0, 0.0]])
    draw_distance(field, tubes_along(line, np.array([1.0, 1.0])), space, margin_mm=9)
    assert field[5, 5, 8] == pytest.approx(2)
    assert field[5, 9, 5] == pytest.approx(3)


def test_what_lies_off_the_grid_is_not_drawn() -> None:
    space = Space((0, 0, 0), (1, 1, 1), (8, 8, 8))
    share = np.zeros(space.shape, np.float32)
    line = np.array([[50.0, 0.0, 0.0], [60.0, 0.0, 0.0]])
    draw_share(share, tubes_along(line, np.array([2.0, 2.0])), space)
    draw_share(share, join([]), space)
    assert share.max() == 0
