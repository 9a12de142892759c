from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import interpolate

from medvit.volume.filters import (
    CUBIC,
    CUBIC_RADIUS,
    LINEAR,
    axis_positions,
    axis_taps,
    cardinal_cubic,
)

HALF_RANGE_HU = (3071 + 1024) / 2


def test_halving_a_line_is_a_triangle_mean() -> None:
    position = axis_positions(4, step_mm=1, spacing_mm=2)
    taps = axis_taps(position, length=4, source_axis=0, widening=2)
    assert taps.position.tolist() == [0.5, 2.5]
    # Distances 1.5, .5, .5, 1.5 of a triangle of radius 2: 1, 3, 3, 1 quarters, cut at the end.
    np.testing.assert_allclose(taps.weight[0] * 7, [0, 1, 3, 3], atol=1e-6)
    assert taps.index[0].tolist() == [3, 2, 0, 1]


def test_a_quarter_of_the_way_is_a_quarter_of_the_next_sample() -> None:
    taps = axis_taps(np.array([0.25, 2.75]), length=4, source_axis=0)
    assert taps.index.tolist() == [[1, 0], [2, 3]]
    assert taps.weight.tolist() == [[0.25, 0.75], [0.25, 0.75]]
    made = taps.band(slice(0, 2)).apply(np.array([[8], [4], [0], [100]], np.float32))
    assert made.tolist() == [[7], [75]]


def test_beyond_its_ends_a_line_is_its_last_sample_or_its_mirror() -> None:
    at = np.array([-0.5])
    linear = axis_taps(at, length=50, source_axis=0, kernel=LINEAR)
    line = np.random.default_rng(0).uniform(-1000, 1000, 50).astype(np.float32)
    band = linear.band(slice(0, 1))
    assert band.apply(line[band.source]).tolist() == [line[0]]
    cubic = axis_taps(at, length=50, source_axis=0, kernel=CUBIC)
    mirror = interpolate.make_interp_spline(
        np.arange(-49, 50), np.concatenate([line[:0:-1], line]), k=3
    )
    band = cubic.band(slice(0, 1))
    made = band.apply(line[band.source])
    assert made[0] == pytest.approx(mirror(-0.5), abs=1e-3)


def test_the_cardinal_cubic_interpolates_and_halfway_is_known() -> None:
    places = np.arange(-20.0, 21.0)
    np.testing.assert_allclose(cardinal_cubic(places), places == 0, atol=1e-15)
    # B(0.5) = 23/48 and B(1.5) = 1/48 at k = 0 and 1, then at k = -1 and 2.
    z = np.sqrt(3) - 2
    halfway = np.sqrt(3) * (23 * (1 + z) + (z + z**2)) / 48
    assert cardinal_cubic(np.array([0.5]))[0] == pytest.approx(halfway)


def test_the_cardinal_cubic_is_the_spline_through_one_sample() -> None:
    impulse = (np.arange(-40, 41) == 0).astype(float)
    spline = interpolate.make_interp_spline(np.arange(-40, 41), impulse, k=3)
    places = np.linspace(-8, 8, 321)
    np.testing.assert_allclose(cardinal_cubic(places), spline(places), atol=1e-9)


def test_the_cubic_is_cut_where_no_ct_shows_it() -> None:
    """What 28 of 121 taps leave out, at worst, in three passes, whatever the values."""
    sample = np.arange(-60, 61)
    full = cardinal_cubic(sample - np.linspace(0, 1, 501)[:, None])
    place = np.linspace(0, 1, 501)[:, None]
    cut = np.where(np.abs(sample - place) < CUBIC_RADIUS, full, 0)
    cut /= cut.sum(axis=1, keepdims=True)
    left_out = np.abs(full - cut).sum(axis=1).max()
    gain, cut_gain = (np.abs(weight).sum(axis=1).max() for weight in (full, cut))
    in_three_passes = left_out * (gain**2 + gain * cut_gain + cut_gain**2)
    assert in_three_passes * HALF_RANGE_HU < 0.4e-3
    assert gain == pytest.approx(1.549, abs=1e-3)


def test_a_sample_that_is_met_is_taken_alone() -> None:
    for kernel in (LINEAR, CUBIC):
        taps = axis_taps(np.array([4.0, 3.0, 2.0 + 1e-9]), length=60, source_axis=0, kernel=kernel)
        assert taps.index.tolist() == [[4], [3], [2]]
        assert taps.weight.tolist() == [[1], [1], [1]]
        line = np.arange(60, dtype=np.float32)
        band = taps.band(slice(0, 3))
        assert band.source == slice(2, 5)
        assert band.apply(line[band.source]).tolist() == [4, 3, 2]


@given(st.integers(1, 40), st.floats(0.3, 9), st.floats(0.3, 9), st.sampled_from([LINEAR, CUBIC]))
def test_weights_sum_to_one_inside_the_source(
    length: int, step_mm: float, spacing_mm: float, kernel: Any
) -> None:
    position = axis_positions(length, step_mm=step_mm, spacing_mm=spacing_mm)
    assert position.min() >= -0.5
    assert position.max() <= length - 0.5
    widening = max(1.0, spacing_mm / step_mm)
    taps = axis_taps(position, length=length, source_axis=0, kernel=kernel, widening=widening)
    np.testing.assert_allclose(taps.weight.sum(axis=1), 1, rtol=1e-5)
    assert taps.index.min() >= 0
    assert taps.index.max() < length
    assert (np.diff(np.sort(taps.index), axis=1) == 1).all()


@given(st.integers(1, 60), st.floats(0.4, 3), st.booleans(), st.integers(1, 30))
def test_the_longest_source_range_is_met_and_never_passed(
    length: int, spacing_mm: float, is_flipped: bool, count: int
) -> None:
    position = axis_positions(length, step_mm=1, spacing_mm=spacing_mm)
    if is_flipped:
        position = position[::-1]
    taps = axis_taps(position, length=length, source_axis=0, widening=max(1.0, spacing_mm))
    count = min(count, len(position))
    ranges = [
        taps.source_range(slice(start, start + count)) for start in range(len(position) - count + 1)
    ]
    assert max(part.stop - part.start for part in ranges) == taps.source_length(count)
    assert taps.source_length(len(position) + 5) == taps.source_length(len(position))
    assert taps.source_length(0) == 0


def slow_cubic(line: npt.NDArray[np.float64], place: float) -> float:
    """Sum the cardinal spline over a line that is mirrored again and again."""
    total = 0.0
    around = np.arange(int(place) - 40.0, int(place) + 41.0)
    for i, weight in zip(around, cardinal_cubic(around - place), strict=True):
        period = max(1, 2 * (len(line) - 1))
        at = int(i) % period
        total += weight * line[min(at, period - at) if len(line) > 1 else 0]
    return total


@pytest.mark.parametrize("length", [1, 2, 5, 13, 31])
def test_short_lines_are_mirrored_as_often_as_needed(length: int) -> None:
    line = np.random.default_rng(length).uniform(-1000, 1000, length)
    position = axis_positions(length, step_mm=1, spacing_mm=0.4)
    taps = axis_taps(position, length=length, source_axis=0, kernel=CUBIC)
    made = taps.band(slice(0, len(position))).apply(line.astype(np.float32))
    expected = [slow_cubic(line, place) for place in position]
    np.testing.assert_allclose(made, expected, atol=1e-3)
