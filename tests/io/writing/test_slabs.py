from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis.strategies import integers

from medvit.io.writing.slabs import SLAB_BYTES, depth_of, write_exactly
from medvit.volume.volume import Volume, volume_of


def collect(hu: npt.ArrayLike, *, depth: int | None = None) -> tuple[list[str], npt.NDArray[Any]]:
    """Return the types that were tried, and what the last try wrote."""
    tried: list[str] = []
    slabs: list[npt.NDArray[Any]] = []

    def write(dtype: np.dtype[Any], parts: Iterator[npt.NDArray[Any]]) -> None:
        tried.append(dtype.name)
        slabs.clear()
        slabs.extend(parts)

    dtype = write_exactly(volume_of(hu, np.eye(4)), write, depth=depth)
    assert dtype.name == tried[-1]
    return tried, np.concatenate(slabs)


@pytest.mark.parametrize(
    ("last", "tried"),
    [
        (-32768.0, ["int16"]),
        (32767.0, ["int16"]),
        (-0.0, ["int16"]),
        (32768.0, ["int16", "float32"]),
        (-32769.0, ["int16", "float32"]),
        (0.5, ["int16", "float32"]),
        (1e30, ["int16", "float32"]),
        (float("nan"), ["int16", "float32"]),
        (float("inf"), ["int16", "float32"]),
    ],
)
def test_float_only_where_int16_is_not_exact(last: float, tried: list[str]) -> None:
    hu = np.full((5, 2, 2), -1000.0, np.float32)
    hu[-1, -1, -1] = last
    types, written = collect(hu, depth=2)
    assert types == tried
    np.testing.assert_array_equal(written, hu)


@given(length=integers(1, 30), depth=integers(1, 40))
def test_slabs_are_the_volume_in_order(length: int, depth: int) -> None:
    hu = np.arange(length * 6).reshape(length, 2, 3)
    tried, written = collect(hu, depth=depth)
    assert tried == ["int16"]
    np.testing.assert_array_equal(written, hu)


def test_whole_values_are_read_once_and_progress_is_told() -> None:
    boxes: list[slice] = []
    told: list[tuple[int, int]] = []

    def read_block(z: slice, y: slice, x: slice) -> npt.NDArray[np.float32]:
        boxes.append(z)
        return np.zeros((z.stop - z.start, y.stop, x.stop), np.float32)

    volume = Volume((7, 2, 2), np.eye(4), read_block)
    write_exactly(
        volume,
        lambda _, slabs: deque(slabs, maxlen=0).clear(),
        depth=3,
        progress=lambda done, total: told.append((done, total)),
    )
    assert boxes == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert told == [(3, 7), (6, 7), (7, 7)]


def test_a_slab_is_bounded_in_bytes_but_holds_a_slice() -> None:
    assert depth_of((2000, 512, 512)) * 512 * 512 * 4 <= SLAB_BYTES
    assert depth_of((2000, 9000, 9000)) == 1
