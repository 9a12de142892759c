from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import floats, permutations

from medvit.io.dicom.geometry import (
    affine_of,
    name_of,
    normal_of,
    pixel_steps_of,
    stack_slices,
    tolerance_mm,
)
from tests.make.dicom import CORONAL
from tests.make.dicom_headers import header, stack_at


@settings(deadline=None)
@given(order=permutations(range(7)), gap_mm=floats(0.3, 9.0), start_mm=floats(-999, 999))
def test_any_order_of_files_gives_the_same_straight_stack(
    order: list[int], gap_mm: float, start_mm: float
) -> None:
    stack = stack_at([start_mm + gap_mm * number for number in order])
    assert [order[int(found.path.stem)] for found in stack.headers] == list(range(7))
    affine = affine_of(stack)
    np.testing.assert_allclose(affine[:3, 0], (0, 0, gap_mm), atol=1e-6)
    np.testing.assert_allclose(affine[:3, 3], (0, 0, start_mm), atol=1e-6)


def test_the_affine_puts_rows_along_y_and_columns_along_x() -> None:
    affine = affine_of(stack_at([0.0, 2.0, 4.0]))
    np.testing.assert_array_equal(affine[:3, 1], (0.0, 0.7, 0.0))
    np.testing.assert_array_equal(affine[:3, 2], (0.5, 0.0, 0.0))


def test_a_coronal_stack_is_ordered_along_its_own_normal() -> None:
    places = [(0.0, y_mm, 0.0) for y_mm in (6.0, 2.0, 4.0)]
    stack = stack_slices([header(place, orientation=CORONAL) for place in places])
    assert stack.along_mm.tolist() == [2.0, 4.0, 6.0]
    np.testing.assert_array_equal(affine_of(stack)[:3, 0], (0.0, 2.0, 0.0))


def test_an_even_stack_is_measured_by_hand() -> None:
    stack = stack_at([0.0, 2.0, 4.0])
    assert stack.gaps_mm.tolist() == [2.0, 2.0]
    assert stack.spacing_mm == 2.0
    assert (stack.tilt_deg, stack.off_line_mm.max(), abs(stack.off_grid_mm).max()) == (0, 0, 0)


def test_a_slice_off_the_grid_is_measured() -> None:
    stack = stack_at([0.0, 2.0, 4.3, 6.0, 8.0])
    np.testing.assert_allclose(stack.off_grid_mm, [-0.06, -0.06, 0.24, -0.06, -0.06], atol=1e-9)


@settings(deadline=None)
@given(x=floats(-0.5, 0.5), y=floats(-0.5, 0.5), gap_mm=floats(0.5, 6))
def test_a_tilt_is_the_angle_of_the_drift_whatever_the_gaps(
    x: float, y: float, gap_mm: float
) -> None:
    heights = np.array([0.0, 1.0, 2.5, 3.0, 7.0]) * gap_mm
    stack = stack_at(heights.tolist(), shift_x=x, shift_y=y)
    np.testing.assert_allclose(stack.drift, (y, x), atol=1e-9)
    assert stack.tilt_deg == pytest.approx(np.degrees(np.arctan(np.hypot(x, y))), abs=1e-7)
    assert stack.off_line_mm.max() < 1e-9


def test_a_slice_beside_the_line_is_measured_within_its_plane() -> None:
    places = [(0.0, 0.0, 0.0), (0.0, 0.0, 2.0), (5.0, 0.0, 4.0), (0.0, 0.0, 6.0), (0.0, 0.0, 8.0)]
    stack = stack_slices([header(place) for place in places])
    assert stack.off_line_mm.argmax() == 2
    assert stack.off_line_mm.max() == pytest.approx(4.0)


def test_slices_at_one_place_have_no_tilt() -> None:
    assert stack_at([5.0, 5.0]).tilt_deg == 0.0


def test_a_frame_is_named_with_its_number() -> None:
    assert name_of(header((0, 0, 0), name="b.dcm")) == "b.dcm"
    assert name_of(header((0, 0, 0), name="b.dcm", frame=4, frames=9)) == "b.dcm frame 5"


def test_the_tolerance_grows_with_the_slice_distance() -> None:
    assert tolerance_mm(5.0) == pytest.approx(0.1)


def test_a_slice_without_place_cannot_be_stacked() -> None:
    with pytest.raises(ValueError, match=r"lost\.dcm: the slice has no position"):
        stack_slices([header((0, 0, 0)), header(None, name="lost.dcm")])
    with pytest.raises(ValueError, match=r"lost\.dcm: the slice has no orientation"):
        normal_of(header((0, 0, 0), orientation=None, name="lost.dcm"))


def test_a_slice_without_pixel_spacing_has_no_steps() -> None:
    bare = header((0, 0, 0), name="bare.dcm")
    bare = replace(bare, placement=replace(bare.placement, pixel_spacing_mm=None))
    with pytest.raises(ValueError, match=r"bare\.dcm: the slice has no pixel spacing"):
        pixel_steps_of(bare)
