"""A head with one more class, told by how much nearer an image lies to it than to all old ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NovelHead(nn.Module):
    """A head, and a logit beside its own: the old head's largest plus a log-likelihood ratio.

    All classes share one covariance, so the ratio of the new class to the nearest old one is
    half the difference of two squared Mahalanobis distances. The old head computes by itself:
    its logits stay the same to the bit.

    Attributes:
        whiten: (d, r), turns features into ones whose covariance is the identity.
        old_means: (m, r), whitened means of old classes.
        mean: (r,), whitened mean of the new class.
        offset: Added to the ratio; above 0 the new class wins.
        scale: Of ratio and offset, in logits.

    Args:
        base: The old head, which knows its `out_features`.
        channels: Width of the features.
        old: Outputs of the old head.
        means: How many old classes have a mean.
        directions: Along which features are compared, r; None for as many as there are channels.
    """

    whiten: Tensor
    old_means: Tensor

    def __init__(
        self, base: nn.Module, channels: int, *, old: int, means: int, directions: int | None = None
    ) -> None:
        super().__init__()
        compared = directions or channels
        self.out_features = old + 1
        self.base = base
        self.register_buffer("whiten", torch.eye(channels, compared))
        self.register_buffer("old_means", torch.zeros(means, compared))
        self.mean = nn.Parameter(torch.zeros(compared))
        self.offset = nn.Parameter(torch.zeros(()))
        self.scale = nn.Parameter(torch.ones(()))

    def ratio(self, features: Tensor) -> Tensor:
        """Return the log-likelihood ratio (n,) of the new class to the nearest old one."""
        white = features.float() @ self.whiten  # (n, r)
        apart = ((white[:, None] - self.old_means) ** 2).sum(2)  # (n, m)
        own = ((white - self.mean) ** 2).sum(1)
        return (apart.min(1).values - own) / 2

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (n, old + 1) of features (n, d)."""
        old: Tensor = self.base(features)
        ahead = self.scale * (self.ratio(features) + self.offset)
        return torch.cat([old, (old.max(1).values + ahead)[:, None]], dim=1)
