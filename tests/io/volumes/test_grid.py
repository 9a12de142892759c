from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers

from medvit.errors import ReadError
from medvit.io.volumes.grid import StoredHeader, grid_of, three_lengths

PATH = Path("a.nrrd")
LENGTHS = (7, 6, 5)


def header(affine: Any, dtype: str = "<i2", **rest: Any) -> StoredHeader:
    return StoredHeader(PATH, LENGTHS, np.dtype(dtype), np.asarray(affine, np.float64), **rest)


def axes(*steps: tuple[float, float, float]) -> Any:
    affine = np.eye(4)
    affine[:3, :3] = np.array(steps).T
    return affine


@settings(deadline=None, max_examples=60)
@given(seed=integers(0, 10**6))
def test_axes_are_turned_as_nibabel_turns_them(seed: int) -> None:
    from nibabel import orientations

    turn: Any = orientations
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0] @ np.diag(rng.choice([-1, 1], 3))
    affine = np.eye(4)
    affine[:3, :3] = rotation * rng.uniform(0.5, 3, 3)
    affine[:3, 3] = rng.normal(size=3) * 100
    grid = grid_of(header(affine))
    expected = turn.io_orientation(affine)
    for row, patient in enumerate((2, 1, 0)):
        axis = int(np.flatnonzero(expected[:, 0] == patient)[0])
        assert (grid.axes[row], grid.is_flipped[row]) == (axis, expected[axis, 1] < 0)


@settings(deadline=None, max_examples=40)
@given(seed=integers(0, 10**6))
def test_every_voxel_keeps_its_place(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = np.eye(3)[rng.permutation(3)] * rng.choice([-1.0, 1.0], 3) * (0.5, 1.0, 2.0)
    affine = np.eye(4)
    affine[:3, :3] = steps
    affine[:3, 3] = (3.0, -4.0, 5.0)
    grid = grid_of(header(affine))
    stored = np.arange(210, dtype=np.float32).reshape(LENGTHS[::-1])
    turned = grid.turned(stored)
    assert turned.shape == grid.shape
    for index in np.ndindex(*LENGTHS):
        point = affine @ [*index, 1.0]
        z, y, x = np.rint(np.linalg.inv(grid.affine_lps) @ point)[:3].astype(int)
        assert turned[z, y, x] == stored[index[::-1]]
    box = (slice(1, 3), slice(0, 2), slice(2, 5))
    np.testing.assert_array_equal(grid.turned(stored[grid.stored_box(box)]), turned[box])


@pytest.mark.parametrize(
    ("affine", "reason", "message"),
    [
        (axes((1, 0, 0), (0.5, 1, 0), (0, 0, 1)), "gantry_tilt", "26.6 degrees off right angles"),
        (axes((1, 0, 0), (1, 0, 0), (0, 0, 1)), "gantry_tilt", "90.0 degrees"),
        (axes((1, 0, 0), (0, 0, 0), (0, 0, 1)), "bad_value", "are no box in space"),
        (axes((1, 0, 0), (0, float("nan"), 0), (0, 0, 1)), "bad_value", "nan"),
        (axes((float("inf"), 0, 0), (0, 1, 0), (0, 0, 1)), "bad_value", "inf"),
        (axes((1e30, 0, 0), (0, 1, 0), (0, 0, 1)), "bad_value", "1e+30"),
    ],
)
def test_what_is_no_straight_box_is_refused(affine: Any, reason: str, message: str) -> None:
    with pytest.raises(ReadError) as caught:
        grid_of(header(affine))
    assert caught.value.reason == reason
    assert message in caught.value.message


def test_a_tilt_within_tolerance_passes() -> None:
    assert grid_of(header(axes((1, 0, 0), (0.003, 1, 0), (0, 0, 1)))).shape == (5, 6, 7)


@pytest.mark.parametrize(
    ("dtype", "rest", "reason"),
    [
        ("<u2", {}, "not_hu"),
        ("i1", {}, "not_hu"),
        ("<c8", {}, "not_hu"),
        ("?", {}, "not_hu"),
        ("<i2", {"slope": 0.0}, "bad_value"),
        ("<i2", {"intercept": float("nan")}, "bad_value"),
        ("<i2", {"slope": 1e300}, "bad_value"),
        ("<i2", {"intercept": -1e7}, "bad_value"),
        ("<i2", {"slope": 0.01}, "not_hu"),
    ],
)
def test_voxels_that_cannot_be_hu_are_refused(
    dtype: str, rest: dict[str, float], reason: str
) -> None:
    with pytest.raises(ReadError) as caught:
        grid_of(header(np.eye(4), dtype, **rest))
    assert caught.value.reason == reason


def test_unsigned_voxels_with_an_intercept_can_be_hu() -> None:
    assert grid_of(header(np.eye(4), "<u2", intercept=-1024.0)).shape == (5, 6, 7)


def test_axes_of_one_voxel_at_the_end_are_dropped() -> None:
    assert three_lengths(PATH, [7, 6, 5, 1, 1]) == (7, 6, 5)


@pytest.mark.parametrize(
    ("lengths", "reason"),
    [
        ([7, 6], "wrong_dimensions"),
        ([], "wrong_dimensions"),
        ([7, 6, 5, 2], "wrong_dimensions"),
        ([7, 6, 1, 5], "wrong_dimensions"),
        ([7, 6, 0], "wrong_dimensions"),
        ([7, -6, 5], "wrong_dimensions"),
        ([7, 6, 2], "too_few_slices"),
    ],
)
def test_other_numbers_of_axes_are_refused(lengths: list[int], reason: str) -> None:
    with pytest.raises(ReadError) as caught:
        three_lengths(PATH, lengths)
    assert caught.value.reason == reason
