from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import floats, tuples

from medvit.geometry import affine_from, index_to_lps, lps_to_index, spacing_of

OBLIQUE = affine_from((10.0, -20.0, 30.0), (0.1, 0.2, 2.0), (0.0, 0.7, -0.05), (0.5, 0.0, 0.01))

Point = tuple(floats(-1e3, 1e3) for _ in range(3))


def test_columns_are_z_y_x_and_origin() -> None:
    affine = affine_from((1, 2, 3), (0, 0, 2.5), (0, 0.7, 0), (0.6, 0, 0))
    expected = [[0, 0, 0.6, 1], [0, 0.7, 0, 2], [2.5, 0, 0, 3], [0, 0, 0, 1]]
    np.testing.assert_array_equal(affine, expected)
    assert spacing_of(affine) == (2.5, 0.7, 0.6)


def test_index_goes_to_the_point_worked_out_by_hand() -> None:
    affine = affine_from((1, 2, 3), (0, 0, 2.5), (0, 0.5, 0), (0.25, 0, 0))
    np.testing.assert_allclose(index_to_lps(affine, [(2, 4, 8), (0, 0, 0)]), [(3, 4, 8), (1, 2, 3)])


@settings(deadline=None)
@given(point=tuples(*Point))
def test_there_and_back_is_the_same_point(point: tuple[float, float, float]) -> None:
    index = lps_to_index(OBLIQUE, point)
    np.testing.assert_allclose(index_to_lps(OBLIQUE, index), point, atol=1e-8)


def test_a_slow_product_agrees_for_many_points() -> None:
    indices = np.random.default_rng(1).uniform(-9, 9, (4, 5, 3))
    points = index_to_lps(OBLIQUE, indices)
    for place in np.ndindex(4, 5):
        expected = OBLIQUE @ [*indices[place], 1.0]
        np.testing.assert_allclose(points[place], expected[:3])


@pytest.mark.parametrize("step", [(0.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, float("nan"), 1.0)])
def test_steps_that_do_not_span_space_are_named(step: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="span space"):
        affine_from((0, 0, 0), step, (0, 1, 0), (1, 0, 0))
