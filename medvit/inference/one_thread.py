"""One thread for torch: for work that is done side by side, tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread in this process, also in threads that start now.

    What a tile gives then depends on no number of cores. Two tiles side by side also take
    less time than two in turn on two threads, which wait for each other at each operation.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
