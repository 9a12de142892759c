from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medvit.errors import ReadError
from medvit.io.planes import Plane
from medvit.io.volumes.grid import StoredGrid, StoredHeader, grid_of
from medvit.io.volumes.stored_volume import check_hu, volume_over
from tests.make.volumes import HU


class Counted:
    """Voxels in memory that remember which planes were asked for."""

    def __init__(self, values: Any) -> None:
        self.values = values
        self.asked: list[int] = []

    def planes(self, numbers: Sequence[int], rows: slice, columns: slice) -> Iterator[Plane]:
        for number in numbers:
            self.asked.append(number)
            yield self.values[number, rows, columns]


def grid_over(values: Any, **rest: Any) -> StoredGrid:
    depth, height, width = values.shape
    return grid_of(StoredHeader(Path("a"), (width, height, depth), values.dtype, np.eye(4), **rest))


@pytest.mark.parametrize(
    ("depth", "asked"), [(3, [0, 1, 2]), (5, [1, 2, 3, 4]), (11, [2, 4, 6, 8, 10])]
)
def test_planes_looked_at_are_spread_and_end_in_the_last(depth: int, asked: list[int]) -> None:
    voxels = Counted(np.full((depth, 4, 4), -1, np.int16))
    check_hu(grid_over(voxels.values), voxels)
    assert voxels.asked == asked


@pytest.mark.parametrize(
    ("lowest", "slope", "intercept", "is_hu"),
    [(0, 1.0, 0.0, False), (-1, 1.0, 0.0, True), (24, 1.0, -1024.0, True), (5, -1.0, 0.0, True)],
)
def test_hu_go_below_zero_after_rescale(
    lowest: int, slope: float, intercept: float, is_hu: bool
) -> None:
    values = np.full((4, 4, 4), lowest, np.int16)
    grid = grid_over(values, slope=slope, intercept=intercept)
    if is_hu:
        check_hu(grid, Counted(values))
        return
    with pytest.raises(ReadError, match="a: the lowest value is 0, CT goes below 0 HU") as caught:
        check_hu(grid, Counted(values))
    assert caught.value.reason == "not_hu"


def test_values_that_are_no_numbers_are_no_hu() -> None:
    values = np.full((4, 4, 4), np.nan, np.float32)
    with pytest.raises(ReadError, match="lowest value is inf") as caught:
        check_hu(grid_over(values), Counted(values))
    assert caught.value.reason == "not_hu"


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<i4", "<i8", "<f4", ">f8"])
def test_a_box_is_rescaled_and_reads_its_planes_alone(dtype: str) -> None:
    voxels = Counted(HU.astype(dtype))
    volume = volume_over(grid_over(voxels.values, slope=2.0, intercept=-24.0), voxels)
    box = (slice(1, 3), slice(2, 6), slice(0, 5))
    hu = volume.read(*box)
    np.testing.assert_array_equal(hu, HU[box] * 2.0 - 24.0)
    assert hu.dtype == np.float32
    assert voxels.asked == [1, 2]


def test_an_empty_box_reads_nothing() -> None:
    voxels = Counted(HU)
    volume = volume_over(grid_over(HU), voxels)
    assert volume.read(slice(2, 2), slice(0, 6), slice(0, 7)).shape == (0, 6, 7)
    assert volume.read(slice(0, 5), slice(3, 3), slice(0, 7)).shape == (5, 0, 7)
    assert voxels.asked == []


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("huge", [1e39, -1e308])
def test_voxels_too_large_to_be_hu_are_refused_in_silence(huge: float) -> None:
    values = HU.astype(np.float64)
    values[2, 3, 4] = huge
    grid = grid_over(values, slope=100.0)
    check_hu(grid, Counted(values))
    with pytest.raises(ReadError, match="a: 1 voxels are not finite numbers") as caught:
        volume_over(grid, Counted(values)).read_all()
    assert caught.value.reason == "bad_value"
