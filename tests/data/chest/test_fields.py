"""Distances, grids and smooth fields of the made chest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.data.chest.fields import (
    Space,
    ellipsoid,
    filled,
    refine,
    rolling,
    smooth_max,
    smooth_min,
)

SPACE = Space((-10.0, -12.0, -14.0), (1.0, 1.5, 2.0), (21, 17, 15))


def test_a_ball_is_an_ellipsoid_with_exact_distances() -> None:
    distance = ellipsoid(SPACE.axes(), (0, 0, 0), (6, 6, 6))
    z, y, x = SPACE.axes()
    expected = np.sqrt(z**2 + y**2 + x**2) - 6
    np.testing.assert_allclose(distance[expected > -5], expected[expected > -5], atol=1e-4)


def test_a_linear_field_is_refined_exactly() -> None:
    coarse = SPACE.coarser(3.0)
    z, y, x = coarse.axes()
    fine = refine((z + 2 * y - x).astype(np.float32), coarse, SPACE)
    z, y, x = SPACE.axes()
    np.testing.assert_allclose(fine, np.broadcast_to(z + 2 * y - x, SPACE.shape), atol=1e-4)


@given(turn=st.floats(-0.3, 0.3))
def test_points_of_the_axes_go_back_to_their_index(turn: float) -> None:
    space = Space(SPACE.origin_mm, SPACE.step_mm, SPACE.shape, turn)
    z, y, x = (np.broadcast_to(axis, space.shape) for axis in space.axes())
    points = np.array([[z[3, 4, 5], y[3, 4, 5], x[3, 4, 5]]], dtype=np.float64)
    np.testing.assert_allclose(space.to_index(points), [[3, 4, 5]], atol=1e-4)


def test_far_from_a_corner_smooth_joins_are_the_sharp_ones() -> None:
    a, b = np.array([0.0, 9.0], np.float32), np.array([5.0, 1.0], np.float32)
    assert smooth_max(a, b, 3).tolist() == [5.0, 9.0]
    assert smooth_min(a, b, 3).tolist() == [0.0, 1.0]
    assert smooth_max(a, a, 4).tolist() == [1.0, 10.0]


def test_an_edge_is_half_full_at_its_surface() -> None:
    share = filled(np.array([-1.0, -0.25, 0.0, 0.25, 1.0], np.float32), 1.0)
    assert share.tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_a_rolling_field_has_spread_one_on_its_grid() -> None:
    space = Space((0, 0, 0), (2, 2, 2), (40, 40, 40))
    field = rolling(np.random.default_rng(0), space, scale_mm=10)
    assert field.shape == space.shape
    assert float(field.std()) == pytest.approx(1, abs=0.25)
