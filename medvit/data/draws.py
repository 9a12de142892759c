"""Which items a training asks for, epoch by epoch: a pure function of the epoch's number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch.distributed
from torch.utils.data import Sampler


class Spot(NamedTuple):
    """A place that an item shall hold: number of a scan, and a voxel (z, y, x) of it."""

    scan: int
    voxel: tuple[int, int, int]


class DrawKey(NamedTuple):
    """One item: how it is drawn, and its number, which seeds the draw.

    Attributes:
        phase: Place in the list of phases.
        number: Unique over the whole training.
        spot: What the item shall hold; None: that is drawn too.
    """

    phase: int
    number: int
    spot: Spot | None = None


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a training at one resolution.

    Attributes:
        spacing_mm: Side of a voxel.
        side: Voxels on a side of a crop.
        share: Part of all epochs.
    """

    spacing_mm: float
    side: int
    share: float = 1.0


def phase_of(epoch: int, *, epochs: int, shares: Sequence[float]) -> int:
    """Return the phase of an epoch counted from 0; phases change between epochs only.

    Examples:
        >>> [phase_of(epoch, epochs=5, shares=[0.4, 0.6]) for epoch in range(5)]
        [0, 0, 1, 1, 1]
    """
    ends = phase_ends(epochs, shares)
    return next((phase for phase, end in enumerate(ends) if epoch < end), len(shares) - 1)


def phase_ends(epochs: int, shares: Sequence[float]) -> list[int]:
    """Return for each phase the epoch after its last one.

    Raises:
        ValueError: If shares do not sum to 1, or a phase gets no whole epoch.

    Examples:
        >>> phase_ends(10, [0.3, 0.7])
        [3, 10]
    """
    if not shares or min(shares) <= 0 or abs(sum(shares) - 1.0) > 1e-6:
        msg = f"shares of phases must be positive and sum to 1, got {list(shares)}"
        raise ValueError(msg)
    ends = [round(epochs * sum(shares[: number + 1])) for number in range(len(shares))]
    if any(end <= before for before, end in zip([0, *ends], ends, strict=False)):
        msg = f"{epochs} epochs give a phase of shares {list(shares)} no epoch of its own"
        raise ValueError(msg)
    return ends


class FreshDraws(Sampler[DrawKey]):
    """Asks for other items in each epoch, and for the same ones when a run is resumed.

    Of several processes that train together each gets its share, none twice.

    Args:
        per_epoch: Items an epoch, those of all processes together.
        epochs: Of the whole training; only needed with several phases.
        shares: Part of the epochs that each phase gets.
    """

    def __init__(
        self, per_epoch: int, *, epochs: int = 1, shares: Sequence[float] = (1.0,)
    ) -> None:
        self.per_epoch = per_epoch
        self.epochs = epochs
        self.shares = tuple(shares)
        self.epoch = 0
        phase_ends(epochs, self.shares)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.per_epoch // _rank_and_world()[1]

    def __iter__(self) -> Iterator[DrawKey]:
        rank, world = _rank_and_world()
        phase = phase_of(self.epoch, epochs=self.epochs, shares=self.shares)
        first = self.epoch * self.per_epoch + rank
        for number in range(first, first + len(self) * world, world):
            yield DrawKey(phase, number)


def _rank_and_world() -> tuple[int, int]:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()
