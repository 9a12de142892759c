from __future__ import annotations

from threading import Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, lists

from medvit.io.planes import Plane, PlaneCache, rescale_into

PLANE_BYTES = 4 * 4 * 2


def decode(number: int) -> Plane:
    return np.full((4, 4), number, np.int16)


@settings(deadline=None)
@given(wanted=lists(integers(0, 9), max_size=40), room=integers(0, 5))
def test_a_plane_is_always_right_and_room_is_never_exceeded(wanted: list[int], room: int) -> None:
    cache = PlaneCache(decode, max_bytes=room * PLANE_BYTES)
    for number in wanted:
        assert cache.plane(number)[0, 0] == number
        assert cache.held_bytes <= room * PLANE_BYTES


def test_the_least_recently_used_plane_goes_first() -> None:
    calls: list[int] = []

    def counted(number: int) -> Plane:
        calls.append(number)
        return decode(number)

    cache = PlaneCache(counted, max_bytes=2 * PLANE_BYTES)
    for number in (0, 1, 0, 2, 0, 1):
        cache.plane(number)
    assert calls == [0, 1, 2, 1]


def test_a_shared_plane_cannot_be_written() -> None:
    plane = PlaneCache(decode).plane(3)
    with pytest.raises(ValueError, match="read-only"):
        plane[0, 0] = 1


def test_threads_share_one_cache() -> None:
    cache = PlaneCache(decode, max_bytes=3 * PLANE_BYTES)
    wrong: list[int] = []

    def work(seed: int) -> None:
        numbers = np.random.default_rng(seed).integers(0, 8, 200).tolist()
        wrong.extend(number for number in numbers if cache.plane(number)[1, 1] != number)

    threads = [Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert cache.held_bytes <= 3 * PLANE_BYTES


def test_rescale_is_slope_then_intercept() -> None:
    out = np.empty((1, 3), np.float32)
    rescale_into(out, np.array([[-2, 0, 30000]], np.int16), slope=2.0, intercept=-1024.0)
    assert out.tolist() == [[-1028.0, -1024.0, 58976.0]]
