"""Volumes opened once, slices read once, within a budget."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from apps.review.volumes import SlicePile, VolumeShelf
from medvit.errors import ReadError
from medvit.geometry import affine_from
from medvit.volume.volume import Hu, Volume, volume_of

SHAPE = (20, 5, 6)
HU = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE) - 300
AFFINE = affine_from((0, 0, 0), (0, 0, 2), (0, 1, 0), (1, 0, 0))


class CountedVolume:
    """A volume that counts the slices it was asked for."""

    def __init__(self) -> None:
        self.slices_read = 0
        self.volume = Volume(SHAPE, AFFINE, self.read_block)

    def read_block(self, z: slice, y: slice, x: slice) -> Hu:
        self.slices_read += z.stop - z.start
        return HU[z, y, x].copy()


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_is_what_the_volume_holds(axis: int, *, keep: bool) -> None:
    pile = SlicePile(volume_of(HU, AFFINE), keep=keep)
    for index in range(SHAPE[axis]):
        np.testing.assert_array_equal(pile.slice_at(axis, index), np.take(HU, index, axis=axis))


def test_a_kept_slice_is_read_once() -> None:
    counted = CountedVolume()
    pile = SlicePile(counted.volume, keep=True)
    for _ in range(3):
        pile.slice_at(0, 4)
    assert counted.slices_read == 1
    for index in range(5):
        pile.slice_at(1, index)
    assert counted.slices_read <= 1 + SHAPE[0]


def test_values_beyond_16_bits_are_clipped_and_fractions_rounded() -> None:
    hu = np.array([[[-1e6, 40.6, 1e6]]], dtype=np.float32)
    pile = SlicePile(volume_of(hu, AFFINE), keep=True)
    assert pile.slice_at(0, 0).tolist() == [[-32768, 41, 32767]]


@pytest.mark.parametrize(("axis", "index"), [(3, 0), (0, 20), (0, -1), (2, 6)])
def test_a_slice_outside_is_refused_with_its_number(axis: int, index: int) -> None:
    pile = SlicePile(volume_of(HU, AFFINE), keep=True)
    with pytest.raises(IndexError, match=rf"axis {axis} .* has no slice {index}"):
        pile.slice_at(axis, index)


def test_a_volume_is_opened_once_by_many_threads() -> None:
    opened: list[int] = []

    def open_it() -> Volume:
        opened.append(1)
        return volume_of(HU, AFFINE)

    shelf = VolumeShelf()
    with ThreadPoolExecutor(8) as pool:
        piles = list(pool.map(lambda _: shelf.get("ct-1", open_it), range(24)))
    assert len(opened) == 1
    assert len(set(map(id, piles))) == 1


def test_the_longest_unused_volume_leaves_when_the_budget_is_full() -> None:
    opened: list[str] = []

    def get(shelf: VolumeShelf, case_id: str) -> SlicePile:
        def open_it() -> Volume:
            opened.append(case_id)
            return volume_of(HU, AFFINE)

        return shelf.get(case_id, open_it)

    shelf = VolumeShelf(budget_bytes=2 * 2 * HU.size)
    for case_id in ("a", "b", "a", "c", "a", "b"):
        get(shelf, case_id)
    assert opened == ["a", "b", "c", "b"]


def test_a_volume_over_the_budget_is_shown_without_being_kept() -> None:
    shelf = VolumeShelf(budget_bytes=10)
    pile = shelf.get("big", lambda: volume_of(HU, AFFINE))
    assert pile.nbytes == 0
    np.testing.assert_array_equal(pile.slice_at(2, 3), HU[:, :, 3])


def test_a_volume_that_failed_is_tried_again() -> None:
    def fail() -> Volume:
        msg = "a.dcm: cut short"
        raise ReadError(msg, reason="truncated")

    shelf = VolumeShelf()
    with pytest.raises(ReadError, match="cut short"):
        shelf.get("ct-1", fail)
    assert shelf.get("ct-1", lambda: volume_of(HU, AFFINE)).volume.shape == SHAPE
