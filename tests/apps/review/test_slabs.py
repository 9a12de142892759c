"""What was read is kept within a budget, and read once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.review import slabs
from apps.review.slabs import NO_VALUE, Hu16, SlabShelf, as_int16, read_slab, slab_depth
from medvit.errors import ReadError
from medvit.geometry import affine_from
from medvit.volume.volume import volume_of

AFFINE = affine_from((0, 0, 0), (0, 0, 2), (0, 1, 0), (1, 0, 0))


def slab_of(nbytes: int) -> Hu16:
    return np.zeros(nbytes // 2, np.int16)


def test_values_are_rounded_clipped_and_what_is_no_number_is_marked() -> None:
    hu = np.array([-1e6, 40.6, 1e6, np.nan, -0.4], np.float32)
    assert as_int16(hu).tolist() == [-32767, 41, 32767, int(NO_VALUE), 0]


def test_the_longest_unused_slab_goes_first() -> None:
    shelf = SlabShelf(budget_bytes=100)
    read: list[str] = []

    def read_it(name: str) -> Hu16:
        read.append(name)
        return slab_of(40)

    for name in ("a", "b", "a", "c", "a", "b"):
        shelf.get(name, partial(read_it, name))
    assert read == ["a", "b", "c", "b"]
    assert shelf.held_bytes == 80


def test_a_slab_over_the_budget_is_given_out_and_stays_alone() -> None:
    shelf = SlabShelf(budget_bytes=100)
    shelf.get("small", lambda: slab_of(40))
    assert shelf.get("huge", lambda: slab_of(1000)).nbytes == 1000
    assert shelf.held_bytes == 1000


def test_many_threads_read_a_slab_once() -> None:
    shelf, gate = SlabShelf(), threading.Barrier(8)
    read: list[int] = []

    def read_it() -> Hu16:
        read.append(1)
        return slab_of(4)

    def ask(_: int) -> Hu16:
        gate.wait(20)
        return shelf.get("a", read_it)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert len(read) == 1
    assert len(set(map(id, found))) == 1


def test_a_slab_that_failed_is_read_again() -> None:
    def fail() -> Hu16:
        msg = "a.dcm: cut short"
        raise ReadError(msg, reason="truncated")

    shelf = SlabShelf()
    with pytest.raises(ReadError, match="cut short"):
        shelf.get("a", fail)
    assert shelf.get("a", lambda: slab_of(4)).nbytes == 4


@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 6), st.integers(1, 5)),
    axis=st.integers(0, 2),
    piece=st.integers(1, 200),
    data=st.data(),
)
def test_a_slab_is_what_the_volume_holds_however_it_is_cut(
    shape: tuple[int, int, int], axis: int, piece: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, shape[axis] - 1))
    stop = data.draw(st.integers(start + 1, shape[axis]))
    hu = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) - 50
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slabs, "PIECE_BYTES", piece)
        found = read_slab(volume_of(hu, AFFINE), axis, start, stop)
    np.testing.assert_array_equal(found, hu.take(range(start, stop), axis))


@given(st.tuples(*(st.integers(1, 5000) for _ in range(3))), st.integers(0, 2))
def test_a_slab_is_small_or_one_slice(shape: tuple[int, int, int], axis: int) -> None:
    depth = slab_depth(shape, axis)
    plane_bytes = 2 * int(np.prod(shape, dtype=np.int64)) // shape[axis]
    assert depth == 1 or 1 < depth <= slabs.MOST_DEEP
    assert depth == 1 or depth * plane_bytes <= slabs.SLAB_BYTES
