"""Batches that become smaller when the memory of the device runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

import torch

from medvit.errors import is_out_of_memory

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger(__name__)


def in_batches(
    items: Iterable[T],
    run: Callable[[list[T]], list[R]],
    *,
    most: int,
    is_out_of_memory: Callable[[BaseException], bool] = is_out_of_memory,
) -> Iterator[R]:
    """Return the results for all items in their order, computed up to `most` at a time.

    When memory runs out, half as many are tried, and no more than that from then on; one
    warning tells of it. No item is taken before it is needed for the next batch.

    Args:
        items: What to compute.
        run: Gives one result for each item of a batch.
        most: Items of a batch at first.
        is_out_of_memory: Says of an exception whether a smaller batch may avoid it.

    Raises:
        ValueError: If `most` is not positive, or `run` gives another number of results.
        Exception: What `run` raises otherwise, or raises for a single item.
    """
    if most < 1:
        msg = f"a batch needs at least 1 item, got {most=}"
        raise ValueError(msg)
    return _batched(iter(items), run, most, is_out_of_memory)


def _batched(
    items: Iterator[T],
    run: Callable[[list[T]], list[R]],
    most: int,
    is_out_of_memory: Callable[[BaseException], bool],
) -> Iterator[R]:
    waiting: list[T] = []
    has_warned = False
    while True:
        waiting += islice(items, max(0, most - len(waiting)))
        if not waiting:
            return
        results = _tried(waiting[:most], run, is_out_of_memory)
        if results is None:
            tried = len(waiting[:most])
            most = tried // 2
            if not has_warned:
                logger.warning("out of memory with a batch of %d; going on with %d", tried, most)
            has_warned = True
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            continue
        del waiting[: len(results)]
        yield from results


def _tried(
    batch: list[T], run: Callable[[list[T]], list[R]], is_out_of_memory: Callable[..., bool]
) -> list[R] | None:
    """Return the results of a batch, or None if memory ran out and smaller ones may not."""
    try:
        results = run(batch)
    except Exception as error:
        if len(batch) == 1 or not is_out_of_memory(error):
            raise
        return None
    if len(results) != len(batch):
        msg = f"a batch of {len(batch)} needs as many results, got {len(results)}"
        raise ValueError(msg)
    return results
