"""Images wait for each other where memory is short, and only there."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from pipelines.scanning.image_room import DECODER_MB, ImageRoom
from pipelines.scanning.memory import current_rss_mb


def test_small_images_are_inside_together_and_each_expects_all_that_are() -> None:
    room, held_mb = ImageRoom(), current_rss_mb() + DECODER_MB
    with ExitStack() as inside:
        for number in (1, 2, 3):
            expected_mb = inside.enter_context(room.taken(10, most_mb=held_mb + 1000))
            assert expected_mb == pytest.approx(held_mb + 10 * number, abs=100)


def test_a_large_image_waits_until_it_is_alone() -> None:
    room, most_mb = ImageRoom(), current_rss_mb() + DECODER_MB + 200
    seen, has_begun = list[str](), threading.Event()

    def work_on_a_large_one() -> None:
        has_begun.set()
        with room.taken(5000, most_mb=most_mb) as expected_mb:
            seen.append("large")
            assert expected_mb > most_mb  # for its caller to refuse

    with ThreadPoolExecutor(1) as pool:
        with room.taken(10, most_mb=most_mb):
            large = pool.submit(work_on_a_large_one)
            assert has_begun.wait(10)
            with room.taken(10, most_mb=most_mb):
                seen.append("small")
            assert not large.done()
        large.result(timeout=10)
    assert seen == ["small", "large"]


def test_one_that_fails_leaves_its_room_to_others() -> None:
    room, most_mb = ImageRoom(), current_rss_mb() + DECODER_MB + 50
    with pytest.raises(ValueError, match="broken"), room.taken(5000, most_mb=most_mb):
        raise ValueError("broken")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: room.taken(5000, most_mb=most_mb).__enter__()).result(timeout=10)
