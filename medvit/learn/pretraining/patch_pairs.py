"""Patches of volumes with the draws of their two views, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from medvit.data.draws import DrawKey
from medvit.data.patches import VolumePatches
from medvit.learn.pretraining.views import (
    CELL,
    PaintShares,
    Patch,
    SslBatch,
    ViewDraw,
    draw_view,
    make_views,
)


class PatchPair(NamedTuple):
    """A patch (z, y, x) in 0..1, and how it is seen twice."""

    patch: Patch
    views: tuple[ViewDraw, ViewDraw]


class PatchPairs(Dataset[PatchPair]):
    """Item (phase, number) is the same in every process and after every resumption.

    Args:
        low_hu: Becomes 0; what is less is cut off.
        high_hu: Becomes 1; what is more is cut off.
    """

    def __init__(
        self, patches: VolumePatches, *, shares: PaintShares, low_hu: float, high_hu: float
    ) -> None:
        self.patches = patches
        self.shares = shares
        self.low_hu = low_hu
        self.high_hu = high_hu
        for phase in patches.phases:
            if phase.side % CELL:
                msg = f"the side of a patch must be a multiple of {CELL} voxels, got {phase.side}"
                raise ValueError(msg)

    def __getitem__(self, key: DrawKey) -> PatchPair:
        hu = self.patches[key]
        span = np.float32(self.high_hu - self.low_hu)
        patch = (np.clip(hu, self.low_hu, self.high_hu) - np.float32(self.low_hu)) / span
        rng = np.random.default_rng((self.patches.seed, key.number, 1))
        side = self.patches.phases[key.phase].side
        first, second = (draw_view(rng, side, self.shares) for _ in range(2))
        return PatchPair(patch.astype(np.float32, copy=False), (first, second))


def collate_pairs(pairs: Sequence[PatchPair]) -> SslBatch:
    """Make the views of a batch; runs in the worker process that read the patches."""
    return make_views([pair.patch for pair in pairs], [pair.views for pair in pairs])
