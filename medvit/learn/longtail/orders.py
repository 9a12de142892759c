"""How often each class is shown: orders of visiting, by the names that configs use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

SamplerName = Literal["none", "balanced", "square_root", "progressive"]


class ClassOrder(Sampler[tuple[int, int]]):
    """Draws a class, then one of its images, with replacement; yields (epoch, index).

    The chance of a class is proportional to `n^power` (Kang 2019, arXiv 1910.09217):
    power 1 shows images alike, 0 classes alike, 1/2 lies between. The progressive order
    goes from the first to the second while the training goes on.

    Args:
        labels: Class indices (n,).
        name: `balanced`, `square_root` or `progressive`.
        epochs: Of the whole training; only the progressive order asks.
        seed: With the epoch it settles all draws.
    """

    def __init__(
        self, labels: Tensor, *, name: SamplerName = "balanced", epochs: int = 1, seed: int
    ) -> None:
        if name == "none":
            msg = "a sampler that shows images as they are is no class order"
            raise ValueError(msg)
        self.members = [torch.nonzero(labels == k).flatten().numpy() for k in torch.unique(labels)]
        self.length = len(labels)
        self.name = name
        self.epochs = epochs
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to be visited next; the training loop calls this."""
        self.epoch = epoch

    @property
    def chances(self) -> NDArray[np.float64]:
        """Chance of each class that has images, in the epoch to be visited next."""
        counts = np.array([len(each) for each in self.members], dtype=np.float64)
        plain: NDArray[np.float64] = counts / counts.sum()
        balanced = np.full(len(counts), 1 / len(counts))
        if self.name == "balanced":
            return balanced
        if self.name == "square_root":
            rooted: NDArray[np.float64] = np.sqrt(plain) / np.sqrt(plain).sum()
            return rooted
        share = min(1.0, self.epoch / max(1, self.epochs - 1))
        return (1 - share) * plain + share * balanced

    def __len__(self) -> int:
        """Return the number of draws in an epoch."""
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (epoch, index)."""
        rng = np.random.default_rng((self.seed, self.epoch))
        for chosen in rng.choice(len(self.members), size=self.length, p=self.chances):
            yield self.epoch, int(rng.choice(self.members[chosen]))
