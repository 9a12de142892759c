"""How a memory budget is divided: slabs, caches, queues and batches that hold it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

from medvit.errors import InputError
from medvit.tiles.footprint import (
    MIB,
    Phase,
    Search,
    Sizes,
    blending,
    phases_of,
)

FORMS = "1500M, 2G, 2GiB, 800000k or a plain number of bytes; 1G is 2^30 bytes"
SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?) ?(?:(?P<unit>[kmgt])(?:i?b)?|b?)")
MOST_BYTES = 2**60
POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}

MOST_SLAB_BYTES = 64 * MIB
"""Larger slabs are no faster."""

LEAST_SLICES = 2
"""Slices of the thinnest slab of the pyramid pass."""

LEAST_LAYERS = 8
"""Layers of the score map that the thinnest slab of it has."""

MOST_QUEUE = 4
MOST_BATCH = 16
DEVICE_SHARE = 0.85
"""Share of a GPU's free memory that tiles may take; the rest is for its library and gaps."""

HINT_STEP_BYTES = 10 * MIB
HINT_SLACK_BYTES = 16 * MIB
"""By how much a figure in a hint exceeds the smallest: a process never starts quite alike."""


class BudgetError(InputError):
    """A memory budget that is too small.

    Attributes:
        smallest_bytes: The smallest budget that would do.
    """

    def __init__(self, max_bytes: int, smallest_bytes: int) -> None:
        msg = f"{max_bytes / MIB:.0f} MiB of memory are too few, {in_mib(smallest_bytes)} needed"
        super().__init__(msg, hint=f"use --max-ram {workable(smallest_bytes)} or more")
        self.smallest_bytes = smallest_bytes


@dataclass(frozen=True, slots=True)
class Room:
    """The memory that there is.

    Attributes:
        max_bytes: What process and decoder may hold together at any time.
        held_bytes: What they hold before the case.
        device_bytes: Free memory of the GPU; 0 where the processor computes.
    """

    max_bytes: int
    held_bytes: int
    device_bytes: int = 0


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """How a case is scanned within its memory. None of it changes a finding.

    Attributes:
        max_bytes: The budget it was made for.
        pyramid_slab_bytes: Slab of the pyramid pass, as float32.
        readers: Threads that read tiles, and on the processor look at them; at least 1.
        read_ahead: Tiles that are being made or wait at most; at least 1.
        tile_batch: Tiles that the network sees at once; 1 on the processor.
        blend_slab_bytes: All that adding up the maps of overlapping tiles may hold.
        phases: What each step is predicted to hold, the process itself included.
    """

    max_bytes: int
    pyramid_slab_bytes: int
    readers: int
    read_ahead: int
    tile_batch: int
    blend_slab_bytes: int
    phases: tuple[Phase, ...]

    @property
    def predicted_bytes(self) -> int:
        """The most that the process is predicted to hold."""
        return max(phase.peak_bytes for phase in self.phases)

    @property
    def predicted_peak_mb(self) -> float:
        """The same in MiB."""
        return self.predicted_bytes / MIB


def plan_memory(search: Search, room: Room) -> MemoryPlan:
    """Divide a budget among the steps of a scan; more of it never makes a step smaller.

    Args:
        search: The case and how it is looked at; its `tile_batch` is chosen here.

    Raises:
        BudgetError: If the case does not fit; with the smallest budget that does.
    """
    smallest = smallest_bytes(search, room)
    if smallest > room.max_bytes:
        raise BudgetError(room.max_bytes, smallest)
    search = replace(search, tile_batch=_batch(search, room))
    least, most = _least(search), _most(search)

    def grown(name: str) -> int:
        def fits(value: int) -> bool:
            return _peak(search, room, replace(least, **{name: value})) <= room.max_bytes

        return _largest(getattr(least, name), getattr(most, name), fits)

    # Each of these belongs to one step alone, so one does not take room from another.
    own = ("pyramid_slab", "queue", "blend_slab")
    sizes = replace(least, **{name: grown(name) for name in own})
    phases = phases_of(search, sizes, held_bytes=room.held_bytes)
    return MemoryPlan(
        max_bytes=room.max_bytes,
        pyramid_slab_bytes=sizes.pyramid_slab,
        readers=min(sizes.queue, search.most_readers),
        read_ahead=sizes.queue,
        tile_batch=search.tile_batch,
        blend_slab_bytes=sizes.blend_slab,
        phases=phases,
    )


def smallest_bytes(search: Search, room: Room) -> int:
    """Return the smallest budget that a case fits into."""
    batched = replace(search, tile_batch=_batch(search, room))
    return _peak(batched, room, _least(batched))


def parse_bytes(text: str) -> int:
    """Return a size in bytes; letters count in powers of 1024, as `2G` and `2GiB` alike.

    Raises:
        InputError: If it is no size, or none above 0.

    Examples:
        >>> parse_bytes("2G") == parse_bytes("2GiB") == 2 * 2**30
        True
        >>> parse_bytes("1.5k"), parse_bytes("800000")
        (1536, 800000)
    """
    found = SIZE.fullmatch(text.strip().lower())
    power = POWERS.get(found["unit"], 0) if found else 0
    count = float(found["number"]) * 1024**power if found else 0.0
    if not 1 <= count < MOST_BYTES:
        msg = f"{text!r} is no amount of memory"
        raise InputError(msg, hint=f"give it as {FORMS}")
    return int(count)


def workable(smallest_bytes: int) -> str:
    """Return a figure to type in that surely does.

    Examples:
        >>> workable(871 * 2**20)
        '890M'
    """
    steps = ceil((smallest_bytes + HINT_SLACK_BYTES) / HINT_STEP_BYTES)
    return f"{steps * HINT_STEP_BYTES // MIB}M"


def in_mib(count: int) -> str:
    """Return bytes in whole MiB, rounded up."""
    return f"{ceil(count / MIB)} MiB"


def _largest(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number that fits, by halving; `low` fits."""
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _peak(search: Search, room: Room, sizes: Sizes) -> int:
    return max(phase.peak_bytes for phase in phases_of(search, sizes, held_bytes=room.held_bytes))


def _least(search: Search) -> Sizes:
    """Return the smallest sizes that work at all."""
    case = search.case
    return Sizes(
        pyramid_slab=LEAST_SLICES * case.slice_bytes,
        queue=1,
        blend_slab=blending(search, LEAST_LAYERS),
    )


def _most(search: Search) -> Sizes:
    """Return sizes beyond which nothing gets faster; never below the least."""
    case, least = search.case, _least(search)
    whole = case.shape[0] * case.slice_bytes
    return Sizes(
        pyramid_slab=max(least.pyramid_slab, min(whole, MOST_SLAB_BYTES)),
        queue=max(MOST_QUEUE, search.most_readers),
        blend_slab=max(least.blend_slab, MOST_SLAB_BYTES),
    )


def _batch(search: Search, room: Room) -> int:
    network = search.network
    if not (room.device_bytes and network.further_bytes):
        return 1
    further = (
        int(room.device_bytes * DEVICE_SHARE) - network.device_bytes
    ) // network.further_bytes
    return min(MOST_BATCH, max(1, 1 + further))
