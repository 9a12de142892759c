"""Losses and orders of visiting for classes of unequal size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import Sampler

LossName = Literal["cross_entropy", "logit_adjustment"]


class AdjustedLoss(nn.Module):
    """Cross entropy of logits shifted by the log of the class priors.

    Menon 2020, arXiv 2007.07314, equation 10: train on `f + tau log prior` of every
    class, use the raw `f`. With `tau` 0 this is plain cross entropy.
    """

    shift: Tensor

    def __init__(self, counts: Tensor, *, tau: float, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if counts.numel() < 2 or bool((counts <= 0).any()):
            msg = f"every one of 2 or more classes needs images, got counts {counts.tolist()}"
            raise ValueError(msg)
        self.register_buffer("shift", tau * torch.log(counts.float() / counts.sum()))
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss.

        Args:
            logits: Shape (n, k).
            targets: Class indices (n,), or class probabilities (n, k).
        """
        shifted = logits.float() + self.shift
        return F.cross_entropy(shifted, targets, label_smoothing=self.label_smoothing)


def build_loss(name: LossName, counts: Tensor, *, label_smoothing: float = 0.0) -> AdjustedLoss:
    """Return a loss by the name that configs use."""
    tau = 1.0 if name == "logit_adjustment" else 0.0
    return AdjustedLoss(counts, tau=tau, label_smoothing=label_smoothing)


class BalancedOrder(Sampler[tuple[int, int]]):
    """Draws a class with equal chance, then one of its images; yields (epoch, index)."""

    def __init__(self, labels: Tensor, *, seed: int) -> None:
        self.members = [torch.nonzero(labels == k).flatten().numpy() for k in torch.unique(labels)]
        self.length = len(labels)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to be visited next; the training loop calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of draws in an epoch."""
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (epoch, index)."""
        rng = np.random.default_rng((self.seed, self.epoch))
        for chosen in rng.integers(len(self.members), size=self.length):
            yield self.epoch, int(rng.choice(self.members[chosen]))
