"""Planes as radiologists hang them, from any affine."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from apps.review.planes import Plane, obliqueness_deg, planes_of, side_letters
from medvit.geometry import Affine, affine_from, index_to_lps

AXIAL = affine_from((-10, -20, -30), (0, 0, 2.5), (0, 0.7, 0), (0.6, 0, 0))
SHAPE = (4, 5, 6)
ORIENTATIONS = [
    (order, signs) for order in permutations(range(3)) for signs in product((1.0, -1.0), repeat=3)
]


def affine_of(order: tuple[int, ...], signs: tuple[float, ...]) -> Affine:
    """Return the affine whose source axes z, y, x run along patient axes in some order."""
    steps = [np.eye(3)[axis] * sign * (1 + axis) for axis, sign in zip(order, signs, strict=True)]
    return affine_from((1.0, 2.0, 3.0), *(step.tolist() for step in steps))


def test_an_axial_scan_needs_no_turn_but_the_head_goes_up() -> None:
    axial, coronal, sagittal = planes_of(SHAPE, AXIAL)
    assert (axial.axis, axial.row_axis, axial.row_flip) == (0, 1, False)
    assert (axial.col_axis, axial.col_flip) == (2, False)
    assert axial.letters == {"top": "A", "bottom": "P", "left": "R", "right": "L"}
    assert (coronal.axis, coronal.row_axis, coronal.row_flip) == (1, 0, True)
    assert coronal.letters == {"top": "S", "bottom": "I", "left": "R", "right": "L"}
    assert (sagittal.axis, sagittal.row_flip) == (2, True)
    assert sagittal.letters == {"top": "S", "bottom": "I", "left": "A", "right": "P"}


def test_pixels_keep_their_size_in_mm() -> None:
    _, coronal, _ = planes_of(SHAPE, AXIAL)
    data = coronal.as_data()
    assert (data["rows"], data["cols"], data["count"]) == (4, 6, 5)
    assert (data["rowMm"], data["colMm"], data["normalMm"]) == pytest.approx((2.5, 0.6, 0.7))


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_every_storage_order_is_hung_the_same_way(
    order: tuple[int, ...], signs: tuple[float, ...]
) -> None:
    affine = affine_of(order, signs)
    for plane, row, col in zip(planes_of(SHAPE, affine), (1, 2, 2), (0, 0, 1), strict=True):
        down, right = shown_directions(plane, affine)
        assert np.argmax(np.abs(down)) == row
        assert np.argmax(np.abs(right)) == col
        assert down[row] * (1 if row == 1 else -1) > 0
        assert right[col] > 0
        assert plane.name == {1: "Axial"}.get(row, "Coronal" if col == 0 else "Sagittal")


def shown_directions(
    plane: Plane, affine: Affine
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], ...]:
    """Return by brute force where one pixel down and one to the right lead in the patient."""
    number = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    shown = plane.arrange(np.take(number, 1, axis=plane.axis))
    places = [
        index_to_lps(affine, np.unravel_index(int(value), SHAPE))
        for value in (shown[0, 0], shown[1, 0], shown[0, 1])
    ]
    return places[1] - places[0], places[2] - places[0]


def test_an_oblique_scan_keeps_its_own_axes_and_says_so() -> None:
    turn = np.radians(20)
    rows = (0.0, float(np.cos(turn)), float(np.sin(turn)))
    normal = (0.0, -float(np.sin(turn)), float(np.cos(turn)))
    affine = affine_from((0, 0, 0), normal, rows, (1, 0, 0))
    assert obliqueness_deg(affine) == pytest.approx(20)
    axial, _, _ = planes_of(SHAPE, affine)
    assert (axial.axis, axial.row_axis, axial.col_axis) == (0, 1, 2)
    assert axial.letters == {"top": "AI", "bottom": "PS", "left": "R", "right": "L"}


def test_a_slight_turn_adds_no_letter() -> None:
    assert side_letters(np.array([0.0, np.cos(0.2), np.sin(0.2)])) == "P"


def test_a_straight_scan_is_not_oblique() -> None:
    assert obliqueness_deg(AXIAL) == pytest.approx(0, abs=1e-5)
