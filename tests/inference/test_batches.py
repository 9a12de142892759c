from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medvit.inference.batches import in_batches

TOO_MUCH = 2**60
"""Bytes that no machine has: torch's own allocator refuses them at once."""


class Device:
    """Doubles numbers; truly runs out of memory with more than `room` at a time."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.tried: list[int] = []

    def __call__(self, batch: list[int]) -> list[int]:
        self.tried.append(len(batch))
        if len(batch) > self.room:
            torch.empty(TOO_MUCH, dtype=torch.uint8)
        return [2 * each for each in batch]


@settings(deadline=None)
@given(
    items=st.lists(st.integers(), max_size=30),
    most=st.integers(1, 12),
    room=st.integers(1, 12),
)
def test_all_results_come_in_order_whatever_the_room(
    items: list[int], most: int, room: int
) -> None:
    device = Device(room)
    assert list(in_batches(items, device, most=most)) == [2 * each for each in items]
    done = [count for count in device.tried if count <= room]
    assert sum(done) == len(items)
    assert all(count <= most for count in device.tried)


def test_a_batch_is_halved_until_it_fits_and_stays_so(caplog: pytest.LogCaptureFixture) -> None:
    device = Device(room=3)
    assert list(in_batches(range(20), device, most=8)) == list(range(0, 40, 2))
    assert device.tried == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "out of memory with a batch of 8; going on with 4"


def test_a_single_item_that_does_not_fit_is_the_end(caplog: pytest.LogCaptureFixture) -> None:
    device = Device(room=0)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        list(in_batches([1, 2, 3, 4], device, most=4))
    assert device.tried == [4, 2, 1]
    assert len(caplog.records) == 1


def test_other_errors_come_out_at_once() -> None:
    tried = []

    def run(batch: list[int]) -> list[int]:
        tried.append(len(batch))
        msg = "shapes differ"
        raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="shapes differ"):
        list(in_batches([1, 2, 3, 4], run, most=4))
    assert tried == [4]


def test_what_was_held_when_memory_ran_out_is_free_before_the_next_try() -> None:
    held: list[int] = []

    class Ballast:
        def __init__(self) -> None:
            held.append(1)

        def __del__(self) -> None:
            held.pop()

    def run(batch: list[int]) -> list[int]:
        assert not held
        ballast = Ballast()
        if len(batch) > 1:
            torch.empty(TOO_MUCH, dtype=torch.uint8)
        del ballast
        return batch

    assert list(in_batches([1, 2, 3], run, most=3)) == [1, 2, 3]


def test_items_are_taken_only_when_they_are_needed() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while taken < 9:
            taken += 1
            yield taken

    results = in_batches(items(), Device(room=9), most=3)
    assert taken == 0
    assert next(results) == 2
    assert taken == 3
    assert [next(results), next(results), next(results)] == [4, 6, 8]
    assert taken == 6


def test_a_wrong_number_of_results_is_refused() -> None:
    with pytest.raises(ValueError, match="a batch of 2 needs as many results, got 1"):
        list(in_batches([1, 2], lambda batch: batch[:1], most=2))


def test_a_batch_of_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="at least 1 item, got most=0"):
        in_batches([1], Device(room=1), most=0)


def test_nothing_in_nothing_out() -> None:
    assert list(in_batches([], Device(room=1), most=4)) == []


@pytest.mark.gpu
def test_a_gpu_that_is_full_computes_the_rest_in_smaller_batches(
    caplog: pytest.LogCaptureFixture,
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    free_bytes, _ = torch.cuda.mem_get_info()
    side = int((free_bytes / 3 / 4) ** 0.5)  # two of these fit, four do not

    def run(batch: list[int]) -> list[float]:
        held = [torch.full((side, side), float(each), device="cuda") for each in batch]
        return [float(each[0, 0]) for each in held]

    assert list(in_batches(range(7), run, most=4)) == [0, 1, 2, 3, 4, 5, 6]
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory with a batch of 4; going on with 2"
    ]
