from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import floats, integers, permutations

from medvit.io.dicom_geometry import Stack, affine_of, judge_stack, stack_slices
from medvit.io.dicom_header import PixelLayout, Placement, SliceHeader
from tests.make.dicom import AXIAL, CORONAL

LAYOUT = PixelLayout(16, 12, 1, 1, 16, 16, 15, True, "MONOCHROME2", 900, 912, 384)


def header(
    position_mm: tuple[float, float, float] | None,
    *,
    orientation: tuple[float, ...] | None = AXIAL,
    name: str = "a.dcm",
    kernel: str = "",
) -> SliceHeader:
    return SliceHeader(
        path=Path(name),
        frame=0,
        file_bytes=2000,
        study_uid="1.1",
        series_uid="1.2",
        sop_uid="1.2.3",
        sop_class="1.2.840.10008.5.1.4.1.1.2",
        instance_number=None,
        modality="CT",
        image_type=(),
        layout=LAYOUT,
        placement=Placement(position_mm, orientation, (0.7, 0.5), "1.9"),
        slope=1.0,
        intercept=-1024.0,
        rescale_type="HU",
        transfer_syntax="1.2.840.10008.1.2.1",
        kernel=kernel,
        acquisition="1",
        is_lossy=False,
        is_burned_in=False,
        has_meta=True,
        bad_values=(),
    )


def stack_at(heights_mm: list[float], *, shift_y: float = 0.0) -> Stack:
    return stack_slices(
        [
            header((0.0, shift_y * number, z_mm), name=f"{number}.dcm")
            for number, z_mm in enumerate(heights_mm)
        ]
    )


def codes(stack: Stack) -> list[str]:
    return [reason.code for reason in judge_stack(stack)]


@settings(deadline=None)
@given(order=permutations(range(7)), gap_mm=floats(0.3, 9.0), start_mm=floats(-999, 999))
def test_any_order_of_files_gives_the_same_straight_stack(
    order: list[int], gap_mm: float, start_mm: float
) -> None:
    stack = stack_at([start_mm + gap_mm * number for number in order])
    assert [order[int(found.path.stem)] for found in stack.headers] == list(range(7))
    assert judge_stack(stack) == ()
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
    assert judge_stack(stack) == ()
    np.testing.assert_array_equal(affine_of(stack)[:3, 0], (0.0, 2.0, 0.0))


def test_positions_written_with_one_decimal_are_still_even() -> None:
    assert codes(stack_at([round(0.625 * number, 1) for number in range(40)])) == []


@settings(deadline=None)
@given(missing=integers(1, 8))
def test_one_slice_taken_from_the_middle_is_missed(missing: int) -> None:
    stack = stack_at([2.5 * number for number in range(10) if number != missing])
    assert codes(stack) == ["missing_slices"]
    assert judge_stack(stack)[0].message.startswith("1 slice(s) missing: gap of 5.000 mm")


def test_a_slice_out_of_place_makes_uneven_spacing_and_names_the_gap() -> None:
    stack = stack_at([0.0, 2.0, 4.0, 6.7, 8.0, 10.0])
    assert codes(stack) == ["uneven_spacing"]
    assert "from 1.300 to 2.700 mm" in judge_stack(stack)[0].message


def test_doubled_slices_are_named() -> None:
    reasons = judge_stack(stack_at([0.0, 2.0, 2.0, 4.0, 6.0]))
    assert [reason.code for reason in reasons] == ["duplicate_positions"]
    assert "1.dcm and 2.dcm share 2.00 mm" in reasons[0].message


def test_two_kernels_at_the_same_places_are_two_series() -> None:
    slices = [header((0, 0, 2.0 * n), kernel=k) for n in range(4) for k in ("B30f", "B70f")]
    assert [r.code for r in judge_stack(stack_slices(slices))] == ["mixed_series"]


def test_a_tilt_shows_in_positions_and_its_angle_is_told() -> None:
    tilt_mm = 5.0 * np.tan(np.radians(14.0))
    stack = stack_at([0.0, 5.0, 10.0, 15.0], shift_y=tilt_mm)
    assert codes(stack) == ["gantry_tilt"]
    assert "14.0 degrees" in judge_stack(stack)[0].message


def test_a_slice_aside_of_the_line_is_named() -> None:
    places = [(0.0, 0.0, 0.0), (0.0, 0.0, 2.0), (9.0, 0.0, 4.0), (0.0, 0.0, 6.0), (0.0, 0.0, 8.0)]
    stack = stack_slices([header(p, name=f"{n}.dcm") for n, p in enumerate(places)])
    reasons = judge_stack(stack)
    assert [reason.code for reason in reasons] == ["uneven_spacing"]
    assert reasons[0].message.startswith("2.dcm")


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_slices_are_counted(count: int) -> None:
    reasons = judge_stack(stack_at([2.0 * number for number in range(count)]))
    assert [reason.code for reason in reasons] == ["too_few_slices"]
    assert f"found {count}" in reasons[0].message


def test_slices_at_one_place_are_doubled_and_too_few() -> None:
    assert codes(stack_at([5.0] * 4)) == ["duplicate_positions", "too_few_slices"]


def test_a_slice_without_place_cannot_be_stacked() -> None:
    with pytest.raises(ValueError, match=r"lost\.dcm: the slice has no position"):
        stack_slices([header((0, 0, 0)), header(None, name="lost.dcm")])
    with pytest.raises(ValueError, match=r"lost\.dcm: the slice has no orientation"):
        stack_slices([header((0, 0, 0), orientation=None, name="lost.dcm")])
