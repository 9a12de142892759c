"""How many images are worked on at once: as many as fit into the memory that a scan may hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from medvit.tiles.footprint import DECODER_BYTES, MIB
from pipelines.scanning.memory import current_rss_mb

DECODER_MB = DECODER_BYTES / MIB


class ImageRoom:
    """The memory of images that are worked on side by side; safe between threads.

    One that is alone is always let in: whether it fits is for its caller to judge.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._inside = 0
        self._held_mb = 0.0
        self._taken_mb = 0.0

    @contextmanager
    def taken(self, need_mb: float, *, most_mb: float) -> Iterator[float]:
        """Wait until an image fits beside those at work; yield the peak that is then expected.

        Args:
            need_mb: What the image takes, in MiB, without the decoder that all share.
            most_mb: What the process and its decoder may hold, in MiB.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._fits(need_mb, most_mb))
            if not self._inside:
                self._held_mb, self._taken_mb = current_rss_mb() + DECODER_MB, 0.0
            self._inside += 1
            self._taken_mb += need_mb
            expected_mb = self._held_mb + self._taken_mb
        try:
            yield expected_mb
        finally:
            with self._changed:
                self._inside -= 1
                self._taken_mb -= need_mb
                self._changed.notify_all()

    def _fits(self, need_mb: float, most_mb: float) -> bool:
        return not self._inside or self._held_mb + self._taken_mb + need_mb <= most_mb
