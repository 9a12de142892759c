"""Scans opened once; any plane, level and slab of them, read where it costs least."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from apps.review import volumes
from apps.review.slabs import SlabShelf
from apps.review.volumes import Cut, PreparingError, SlicePile, VolumeShelf
from medvit.errors import ReadError
from medvit.geometry import affine_from
from medvit.io.pyramids import hold_pyramid
from medvit.io.source import Source
from medvit.io.writing.slabs import Progress
from medvit.volume.levels import halve
from medvit.volume.pyramid import Pyramid
from medvit.volume.volume import Hu, Volume, volume_of

SHAPE = (20, 130, 6)
HU = np.random.default_rng(3).integers(-1000, 2000, SHAPE).astype(np.float32)
AFFINE = affine_from((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))


class CountedVolume:
    """A volume that counts the slices it was asked for."""

    def __init__(self) -> None:
        self.slices_read = 0
        self.volume = Volume(SHAPE, AFFINE, self.read_block, is_plain=True)

    def read_block(self, z: slice, y: slice, x: slice) -> Hu:
        self.slices_read += z.stop - z.start
        return HU[z, y, x].copy()


def source_of(volume: Volume) -> Source:
    return Source(volume, volume, ())


def pile_of(*, is_plain: bool = True) -> SlicePile:
    volume = replace(volume_of(HU, AFFINE), is_plain=is_plain)
    return SlicePile(source_of(volume), SlabShelf())


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumes, "PATIENCE_S", 20.0)


@pytest.mark.parametrize("is_plain", [True, False])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_is_what_the_volume_holds(axis: int, *, is_plain: bool) -> None:
    pile = pile_of(is_plain=is_plain)
    for index in range(SHAPE[axis]):
        np.testing.assert_array_equal(pile.slice_at(axis, index), np.take(HU, index, axis=axis))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("index", [0, 3, 5])
@pytest.mark.parametrize("slab", [2, 3, 9, 511])
def test_a_slab_shows_the_largest_values_about_its_slice(axis: int, index: int, slab: int) -> None:
    first = index - (slab - 1) // 2
    numbers = [n for n in range(first, first + slab) if 0 <= n < SHAPE[axis]]
    expected = np.max(HU.take(numbers, axis), axis=axis)
    np.testing.assert_array_equal(pile_of().cut(Cut(axis, index, slab=slab)), expected)


def test_a_coarse_slice_holds_means_and_a_coarse_slab_the_largest_values() -> None:
    pile = pile_of()
    assert pile.levels[1].factors == (2, 2, 2)
    means = np.rint(halve(HU, (2, 2, 2)))
    np.testing.assert_array_equal(pile.cut(Cut(1, 101, level=1)), means[:, 50])
    highs: npt.NDArray[np.float32] = halve(HU, (2, 2, 2), "max")
    shown = pile.cut(Cut(1, 101, level=1, slab=5))  # slices 99 to 103 lie in 49, 50 and 51
    np.testing.assert_array_equal(shown, highs[:, 49:52].max(axis=1))


def test_a_slice_of_the_stack_is_read_alone_and_once() -> None:
    counted = CountedVolume()
    pile = SlicePile(source_of(counted.volume), SlabShelf())
    for _ in range(3):
        pile.slice_at(0, 4)
    assert counted.slices_read == 1


def test_a_packed_volume_is_unpacked_once_for_its_pyramid_and_not_for_its_slices() -> None:
    counted = CountedVolume()
    packed = replace(counted.volume, is_plain=False)
    made: list[Source] = []

    def build(source: Source, _: Progress) -> Pyramid:
        made.append(source)
        return hold_pyramid(volume_of(HU, AFFINE))

    pile = SlicePile(source_of(packed), SlabShelf(), build)
    for axis in range(3):
        np.testing.assert_array_equal(pile.slice_at(axis, 4), HU.take(4, axis))
    assert len(made) == 1
    assert counted.slices_read == 0


def test_the_neighbours_of_a_slice_across_the_stack_come_along() -> None:
    counted = CountedVolume()
    pile = SlicePile(source_of(counted.volume), SlabShelf())
    for index in range(64):
        pile.slice_at(1, index)
    assert counted.slices_read == SHAPE[0]


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (Cut(3, 0), r"axis 3 .* has no slice 0"),
        (Cut(0, 20), r"axis 0 .* has no slice 20"),
        (Cut(2, -1), r"has no slice -1"),
        (Cut(0, 0, level=9), r"levels 0 to 1, not 9"),
        (Cut(0, 0, slab=0), r"1 to 512 slices, not 0"),
        (Cut(0, 0, slab=10**9), r"not 1000000000"),
    ],
)
def test_what_is_not_there_is_refused_with_its_number(cut: Cut, message: str) -> None:
    with pytest.raises(IndexError, match=message):
        pile_of().cut(cut)


def test_while_the_pyramid_is_made_the_stack_is_shown_and_the_rest_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(volumes, "PATIENCE_S", 0.01)
    go_on = threading.Event()

    def build(source: Source, progress: Progress) -> Pyramid:
        progress(5, 20)
        go_on.wait(20)
        return hold_pyramid(source.volume)

    pile = SlicePile(source_of(volume_of(HU, AFFINE)), SlabShelf(), build)
    with pytest.raises(PreparingError):
        pile.cut(Cut(1, 60, level=1))
    with pytest.raises(PreparingError, match="25%") as met:
        pile.cut(Cut(1, 60, level=1))
    assert met.value.share == 0.25
    np.testing.assert_array_equal(pile.slice_at(0, 7), HU[7])
    go_on.set()
    monkeypatch.setattr(volumes, "PATIENCE_S", 20.0)
    assert pile.cut(Cut(1, 60, level=1)).shape == (10, 3)


def test_a_pyramid_that_failed_says_why_and_is_tried_again() -> None:
    tries = []

    def build(source: Source, _: Progress) -> Pyramid:
        tries.append(1)
        if len(tries) == 1:
            msg = "a.dcm: cut short"
            raise ReadError(msg, reason="truncated")
        return hold_pyramid(source.volume)

    pile = SlicePile(source_of(volume_of(HU, AFFINE)), SlabShelf(), build)
    with pytest.raises(ReadError, match="cut short"):
        pile.cut(Cut(2, 0, level=1))
    assert pile.cut(Cut(2, 0, level=1)).shape == (10, 65)


def test_a_scan_is_opened_once_by_many_threads() -> None:
    opened: list[int] = []

    def open_it() -> Source:
        opened.append(1)
        return source_of(volume_of(HU, AFFINE))

    shelf = VolumeShelf()
    with ThreadPoolExecutor(8) as pool:
        piles = list(pool.map(lambda _: shelf.get("ct-1", open_it), range(24)))
    assert len(opened) == 1
    assert len(set(map(id, piles))) == 1


def test_the_longest_unused_scan_is_closed_first() -> None:
    opened: list[str] = []

    def get(shelf: VolumeShelf, case_id: str) -> SlicePile:
        def open_it() -> Source:
            opened.append(case_id)
            return source_of(volume_of(HU, AFFINE))

        return shelf.get(case_id, open_it)

    shelf = VolumeShelf(2)
    for case_id in ("a", "b", "a", "c", "a", "b"):
        get(shelf, case_id)
    assert opened == ["a", "b", "c", "b"]


def test_two_scans_never_share_a_slab() -> None:
    shelf = VolumeShelf()
    one = shelf.get("a", lambda: source_of(volume_of(HU, AFFINE)))
    other = shelf.get("b", lambda: source_of(volume_of(HU + 1, AFFINE)))
    np.testing.assert_array_equal(one.slice_at(1, 3) + 1, other.slice_at(1, 3))


def test_a_scan_that_failed_is_tried_again() -> None:
    def fail() -> Source:
        msg = "a.dcm: cut short"
        raise ReadError(msg, reason="truncated")

    shelf = VolumeShelf()
    with pytest.raises(ReadError, match="cut short"):
        shelf.get("ct-1", fail)
    opened = shelf.get("ct-1", lambda: source_of(volume_of(HU, AFFINE)))
    assert opened.volume.shape == SHAPE
