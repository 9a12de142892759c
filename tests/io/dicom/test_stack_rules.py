from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis.strategies import floats, integers, lists, sampled_from, sets

from medvit.io.dicom.geometry import Stack, stack_slices
from medvit.io.dicom.stack_rules import Fault, even_heights, judge_stack
from tests.make.dicom_headers import header, stack_at


def codes(stack: Stack) -> list[str]:
    return [fault.code for fault in judge_stack(stack)]


def only(stack: Stack) -> Fault:
    (fault,) = judge_stack(stack)
    return fault


@settings(deadline=None)
@given(gap_mm=floats(0.3, 9.0), count=integers(3, 40), start_mm=floats(-999, 999))
def test_even_slices_are_sound(gap_mm: float, count: int, start_mm: float) -> None:
    assert judge_stack(stack_at([start_mm + gap_mm * number for number in range(count)])) == ()


def test_positions_written_with_one_decimal_are_still_even() -> None:
    assert codes(stack_at([round(0.625 * number, 1) for number in range(40)])) == []


@settings(deadline=None)
@given(
    jitter=lists(floats(-0.03, 0.03), min_size=9, max_size=9),
    aside=lists(floats(-0.03, 0.03), min_size=9, max_size=9),
    gap_mm=floats(1.0, 8.0),
)
def test_jitter_within_the_tolerance_stays_as_it_is(
    jitter: list[float], aside: list[float], gap_mm: float
) -> None:
    slices = [
        header((dx, 0.0, gap_mm * number + dz), name=f"{number}.dcm")
        for number, (dz, dx) in enumerate(zip(jitter, aside, strict=True))
    ]
    stack = stack_slices(slices)
    assume(stack.tilt_deg < 0.2)
    assert codes(stack) == []


@settings(deadline=None)
@given(
    missing=sets(integers(1, 18), min_size=1, max_size=4), gap_mm=sampled_from((0.7, 1.25, 2.5, 5))
)
def test_slices_taken_from_the_middle_are_missed_and_counted(
    missing: set[int], gap_mm: float
) -> None:
    fault = only(stack_at([gap_mm * number for number in range(20) if number not in missing]))
    assert (fault.code, fault.remedy) == ("missing_slices", "")
    assert fault.fact.startswith(f"{len(missing)} slice(s) missing in ")
    assert f"where others are {gap_mm:.3f} mm" in fault.fact


def test_a_missing_slice_names_its_neighbours() -> None:
    fault = only(stack_at([2.5 * number for number in range(10) if number != 4]))
    assert fault.as_refusal.message == (
        "1 slice(s) missing in 1 place(s): gap of 5.000 mm between 3.dcm and 4.dcm where others "
        "are 2.500 mm; add the missing files"
    )


def test_a_slice_missing_among_uneven_gaps_is_not_made_up() -> None:
    fault = only(stack_at([0.0, 1.0, 2.3, 3.0, 4.0, 6.35, 7.35, 8.35]))
    assert (fault.code, fault.remedy) == ("missing_slices", "")
    assert "gap of 2.350 mm between 4.dcm and 5.dcm where others are 1.000 mm" in fault.fact


def test_a_slice_out_of_place_is_interpolated_around() -> None:
    fault = only(stack_at([0.0, 2.0, 4.0, 6.7, 8.0, 10.0]))
    assert fault.code == "uneven_spacing"
    assert "vary from 1.300 to 2.700 mm, the widest between 2.dcm and 3.dcm" in fault.fact
    assert "to 6 slices every 2.000 mm" in fault.as_repair.message


@pytest.mark.parametrize(
    ("heights", "widest"), [([0, 2, 4, 7.1, 8, 10], "3.100"), ([0, 0.7, 3.6, 6.5, 9.4], "2.900")]
)
def test_gaps_too_wide_to_interpolate_are_refused_with_the_limits(
    heights: list[float], widest: str
) -> None:
    fault = only(stack_at(heights))
    assert (fault.code, fault.remedy) == ("uneven_spacing", "")
    assert f"to {widest} mm" in fault.fact
    assert "at most 3 mm and 4 times the smallest" in fault.fact


def test_two_slice_distances_are_brought_to_the_finer_one() -> None:
    heights = [*np.arange(6) * 1.0, *(5 + np.arange(1, 9) * 2.0)]
    stack = stack_at(heights)
    assert codes(stack) == ["uneven_spacing"]
    np.testing.assert_allclose(even_heights(stack), np.arange(22.0))


@settings(deadline=None)
@given(gaps=lists(floats(0.7, 2.6), min_size=3, max_size=30))
def test_even_heights_span_the_stack_and_skip_no_slice(gaps: list[float]) -> None:
    stack = stack_at(np.cumsum([0.0, *gaps]).tolist())
    heights = even_heights(stack)
    assert heights[0] == stack.along_mm[0]
    assert heights[-1] == stack.along_mm[-1]
    for below, above in zip(stack.along_mm, stack.along_mm[2:], strict=False):
        assert ((heights > below) & (heights < above)).any()


def test_a_tilt_shows_in_positions_and_its_angle_and_distances_are_told() -> None:
    stack = stack_at(
        [4.851 * number for number in range(4)], shift_y=float(np.tan(np.radians(14.0)))
    )
    assert only(stack).as_repair.message == (
        "0.dcm: slices follow each other at 14.0 degrees to their normal, 5.000 mm from position "
        "to position and 4.851 mm along the normal; sheared back: every slice is moved within its "
        "plane by linear interpolation, the slice distance is 4.851 mm, what lies outside is air"
    )


@settings(deadline=None)
@given(angle_deg=floats(0.3, 29.9), way_deg=floats(0, 360), gap_mm=floats(0.5, 7))
def test_a_tilt_to_any_side_can_be_sheared_back(
    angle_deg: float, way_deg: float, gap_mm: float
) -> None:
    slope = np.tan(np.radians(angle_deg))
    stack = stack_at(
        [gap_mm * number for number in range(6)],
        shift_x=float(slope * np.cos(np.radians(way_deg))),
        shift_y=float(slope * np.sin(np.radians(way_deg))),
    )
    fault = only(stack)
    assert (fault.code, bool(fault.remedy)) == ("gantry_tilt", True)
    assert stack.tilt_deg == pytest.approx(angle_deg, abs=1e-6)
    assert f"at {stack.tilt_deg:.1f} degrees" in fault.fact


def test_a_tilt_that_no_gantry_reaches_is_refused_with_the_limit() -> None:
    fault = only(stack_at([0.0, 2.0, 4.0, 6.0], shift_y=0.7))
    assert (fault.code, fault.remedy) == ("gantry_tilt", "")
    assert "at 35.0 degrees" in fault.fact
    assert "(at most 30 degrees)" in fault.fact


def test_a_slice_aside_of_the_line_is_named() -> None:
    places = [(0.0, 0.0, 0.0), (0.0, 0.0, 2.0), (9.0, 0.0, 4.0), (0.0, 0.0, 6.0), (0.0, 0.0, 8.0)]
    fault = only(stack_slices([header(p, name=f"{n}.dcm") for n, p in enumerate(places)]))
    assert (fault.code, fault.remedy) == ("uneven_spacing", "")
    assert fault.fact == "2.dcm: the slice lies 7.20 mm off the line through the others"


def test_tilt_and_gaps_are_both_named() -> None:
    assert codes(stack_at([0.0, 4.0, 8.0, 12.0, 19.0, 26.0, 33.0], shift_y=0.3)) == [
        "gantry_tilt",
        "uneven_spacing",
    ]


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_slices_are_counted(count: int) -> None:
    fault = only(stack_at([2.0 * number for number in range(count)]))
    assert (fault.code, fault.remedy) == ("too_few_slices", "")
    assert f"found {count}" in fault.fact
