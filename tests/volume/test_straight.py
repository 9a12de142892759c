from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis.strategies import floats, integers, lists

from medvit.volume.straight import StraightBox, read_straight, straighten
from medvit.volume.volume import AIR_HU, Hu, volume_of

EVERYWHERE = np.eye(4)
SHIFTS = floats(-6.0, 6.0, allow_subnormal=False)


def reader_of(planes: npt.ArrayLike) -> Planes:
    return Planes(np.asarray(planes, np.float32))


class Planes:
    """Reads planes, and remembers which parts of which were asked for."""

    def __init__(self, planes: Hu) -> None:
        self.planes = planes
        self.asked: list[tuple[slice, slice, slice]] = []

    def __call__(self, z: slice, y: slice, x: slice) -> Hu:
        self.asked.append((z, y, x))
        return self.planes[z, y, x].copy()


def whole(box: StraightBox, planes: npt.ArrayLike) -> Hu:
    return read_straight(box, reader_of(planes), *(slice(0, side) for side in box.shape))


def laid(
    planes: npt.ArrayLike, shifts: npt.ArrayLike, *, heights: npt.ArrayLike | None = None
) -> StraightBox:
    stored = np.asarray(planes)
    along = np.arange(len(stored), dtype=np.float64)
    return straighten(
        (stored.shape[1], stored.shape[2]),
        shifts_px=np.asarray(shifts, np.float64),
        along_mm=along,
        heights_mm=along if heights is None else np.asarray(heights, np.float64),
    )


def test_a_plane_moved_by_whole_pixels_keeps_its_values() -> None:
    planes = [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    box = laid(planes, [(0, 0), (1, -1)])
    assert box.shape == (2, 3, 3)
    assert box.first_px == (0, -1)
    air = AIR_HU
    np.testing.assert_array_equal(
        whole(box, planes),
        [
            [[air, 1, 2], [air, 3, 4], [air, air, air]],
            [[air, air, air], [5, 6, air], [7, 8, air]],
        ],
    )


def test_half_a_pixel_is_the_mean_and_border_pixels_reach_half_a_pixel_out() -> None:
    planes = [[[10, 20, 40]], [[10, 20, 40]]]
    box = laid(planes, [(0, 0), (0, 0.5)])
    assert box.shape == (2, 1, 4)
    np.testing.assert_array_equal(
        whole(box, planes), [[[10, 20, 40, AIR_HU]], [[10, 15, 30, AIR_HU]]]
    )


def test_padding_is_air_before_it_could_blend_with_tissue() -> None:
    planes = [[[-3024, 0]], [[-3024, 0]]]
    box = laid(planes, [(0, 0), (0, 0.5)])
    found = whole(box, planes)
    np.testing.assert_array_equal(found[1, 0, :2], [AIR_HU, AIR_HU / 2])
    assert found.min() == AIR_HU


def test_between_planes_values_are_weighed_by_distance() -> None:
    planes = np.array([0, 100, 300]).reshape(3, 1, 1)
    box = laid(planes, np.zeros((3, 2)), heights=[0, 0.5, 1, 1.25, 2])
    assert whole(box, planes).ravel().tolist() == [0, 50, 100, 150, 300]
    assert box.nearest.tolist() == [0, 0, 1, 1, 2]


def test_where_one_plane_holds_nothing_the_other_speaks_alone() -> None:
    planes = [[[10, 20]], [[30, 40]]]
    box = laid(planes, [(0, 0), (0, 1)], heights=[0, 0.5, 1])
    np.testing.assert_array_equal(whole(box, planes)[1], [[10, 25, 40]])


def reference(planes: Hu, box: StraightBox) -> npt.NDArray[np.float64]:
    """Look at every voxel by itself."""
    out = np.full(box.shape, np.nan)
    padded = np.maximum(planes.astype(np.float64), AIR_HU)
    for k, i, j in np.ndindex(box.shape):
        found = {}
        for number in (int(box.below[k]), int(box.below[k]) + 1):
            if number >= len(planes):
                continue
            row, column = np.array([i, j]) + box.first_px - box.shifts_px[number]
            if not (-0.5 <= row < planes.shape[1] - 0.5):
                continue
            if not (-0.5 <= column < planes.shape[2] - 0.5):
                continue
            row, column = (
                min(max(p, 0), n - 1) for p, n in zip((row, column), planes.shape[1:], strict=True)
            )
            r, c = int(row), int(column)
            r1, c1 = min(r + 1, planes.shape[1] - 1), min(c + 1, planes.shape[2] - 1)
            dr, dc = row - r, column - c
            plane = padded[number]
            upper = plane[r, c] * (1 - dc) + plane[r, c1] * dc
            lower = plane[r1, c] * (1 - dc) + plane[r1, c1] * dc
            found[number] = upper * (1 - dr) + lower * dr
        below, w = int(box.below[k]), box.weight[k]
        low, high = found.get(below), found.get(below + 1)
        if w == 0 or high is None:
            out[k, i, j] = AIR_HU if low is None else low
        else:
            out[k, i, j] = high if low is None else low * (1 - w) + high * w
        if w > 0 and low is None and high is None:
            out[k, i, j] = AIR_HU
    return out


@settings(deadline=None, max_examples=60)
@given(
    seed=integers(0, 2**32 - 1),
    shifts=lists(SHIFTS, min_size=6, max_size=6),
    steps=lists(floats(0.5, 3.0), min_size=2, max_size=2),
    count=integers(2, 6),
)
def test_every_voxel_is_what_a_slow_look_at_it_gives(
    seed: int, shifts: list[float], steps: list[float], count: int
) -> None:
    planes = np.random.default_rng(seed).integers(-3024, 3000, (3, 4, 5)).astype(np.float32)
    along = np.array([0.0, steps[0], sum(steps)])
    moved = np.round(np.reshape(shifts, (3, 2)), 3)
    moved -= moved[0]
    box = straighten(
        (4, 5), shifts_px=moved, along_mm=along, heights_mm=np.linspace(0.0, along[-1], count)
    )
    np.testing.assert_allclose(whole(box, planes), reference(planes, box), atol=2e-3)


@settings(deadline=None, max_examples=60)
@given(
    shifts=lists(SHIFTS, min_size=6, max_size=6),
    corner=lists(integers(0, 9), min_size=3, max_size=3),
    sides=lists(integers(0, 9), min_size=3, max_size=3),
)
def test_a_value_does_not_depend_on_the_part_it_is_read_with(
    shifts: list[float], corner: list[int], sides: list[int]
) -> None:
    planes = np.random.default_rng(5).integers(-1000, 2000, (3, 7, 8)).astype(np.float32)
    box = laid(planes, np.reshape(shifts, (3, 2)), heights=[0, 0.4, 0.8, 1.2, 1.6, 2.0])
    part = tuple(
        slice(min(a, n), min(a + side, n))
        for a, side, n in zip(corner, sides, box.shape, strict=True)
    )
    found = read_straight(box, reader_of(planes), *part)
    np.testing.assert_array_equal(found, whole(box, planes)[part])


@settings(deadline=None, max_examples=60)
@given(shifts=lists(SHIFTS, min_size=4, max_size=4))
def test_no_pixel_is_lost(shifts: list[float]) -> None:
    moved = np.array([(0.0, 0.0), *np.reshape(shifts, (2, 2))])
    for plane in range(3):
        for row, column in ((0, 0), (3, 4), (0, 4), (3, 0)):
            planes = np.full((3, 4, 5), AIR_HU, np.float32)
            planes[plane, row, column] = 3000
            assert whole(laid(planes, moved), planes)[plane].max() > AIR_HU + 900


def test_only_the_planes_and_rows_that_are_needed_are_read() -> None:
    planes = reader_of(np.zeros((9, 50, 60)))
    shifts = np.outer(np.arange(9), (1.5, 0.0))
    box = laid(planes.planes, shifts)
    read_straight(box, planes, slice(4, 6), slice(20, 24), slice(10, 13))
    assert planes.asked == [
        (slice(4, 5), slice(14, 18), slice(10, 13)),
        (slice(5, 6), slice(12, 17), slice(10, 13)),
    ]


def test_a_plane_is_read_once_for_the_slices_on_both_sides_of_it() -> None:
    planes = reader_of(np.zeros((3, 2, 2)))
    box = laid(planes.planes, np.zeros((3, 2)), heights=np.linspace(0, 2, 9))
    read_straight(box, planes, slice(0, 9), slice(0, 2), slice(0, 2))
    assert [z.start for z, _, _ in planes.asked] == [0, 1, 2]


@pytest.mark.parametrize("part", [slice(0, 0), slice(2, 2)])
def test_an_empty_part_has_no_values_and_reads_nothing(part: slice) -> None:
    planes = reader_of(np.zeros((3, 2, 2)))
    box = laid(planes.planes, np.zeros((3, 2)))
    assert read_straight(box, planes, slice(0, 3), part, slice(0, 2)).shape == (3, 0, 2)
    assert planes.asked == []


def test_a_volume_in_memory_serves_as_planes() -> None:
    volume = volume_of(np.arange(8).reshape(2, 2, 2), EVERYWHERE)
    box = laid(np.zeros((2, 2, 2)), np.zeros((2, 2)))
    full = slice(0, 2)
    np.testing.assert_array_equal(
        read_straight(box, volume.read_block, full, full, full), volume.read_all()
    )
