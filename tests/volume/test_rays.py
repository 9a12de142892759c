"""Rays, their ends, and the ball or circle fitted to them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.volume.rays import along, circle, first_below, fit_ball, reach_of, sphere


def test_directions_are_even_and_of_unit_length() -> None:
    ways = sphere(200)
    np.testing.assert_allclose(np.linalg.norm(ways, axis=1), 1)
    np.testing.assert_allclose(ways.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose((ways**2).mean(axis=0), 1 / 3, atol=0.01)


@given(
    z=st.floats(-1, 1),
    y=st.floats(-1, 1),
    x=st.floats(-1, 1),
    radius=st.floats(4, 20),
    blocked=st.floats(0, 0.5),
)
def test_a_ball_is_found_though_rays_run_on_into_a_wall(
    z: float, y: float, x: float, radius: float, blocked: float
) -> None:
    ways, centre = sphere(192), np.array([z, y, x])
    ends = reach_of(ways, centre, radius)
    np.testing.assert_allclose(np.linalg.norm(ways * ends[:, None] - centre, axis=1), radius)
    ends[ways[:, 2] > 1 - 2 * blocked] = np.inf
    found, size, kept = fit_ball(ways, ends)
    np.testing.assert_allclose(found, centre, atol=1e-6)
    assert size == pytest.approx(radius)
    assert not kept[np.isinf(ends)].any()


def test_a_circle_stays_in_its_plane() -> None:
    ways, centre = circle(72), np.array([0.0, 0.5, -0.25])
    found, size, kept = fit_ball(ways, reach_of(ways, centre, 3.0))
    np.testing.assert_allclose(found, centre, atol=1e-9)
    assert size == pytest.approx(3.0)
    assert kept.all()


def test_rays_without_an_end_fit_nothing() -> None:
    _, size, kept = fit_ball(circle(8), np.full(8, np.inf))
    assert size == 0
    assert not kept.any()


def test_an_edge_lies_between_two_samples() -> None:
    hu = np.zeros((3, 3, 9), np.float32)
    hu[..., :4] = 100
    steps = np.arange(0, 6, 0.5)
    profiles = along(hu, np.array([1.0, 1.0, 1.0]), np.array([[0.0, 0, 1], [1, 0, 0]]), steps)
    assert first_below(profiles, steps, 50.0).tolist() == [2.5, np.inf]
    assert first_below(profiles, steps, 150.0).tolist() == [0.0, 0.0]
