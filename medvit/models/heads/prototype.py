"""Heads that compare features with those of a few labelled images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

COSINE_SCALE = 10.0


class CosineHead(nn.Module):
    """Logits are scaled cosines between features and one prototype a class.

    Snell 2017, arXiv 1703.05175, with cosines; Gidaris 2018, arXiv 1804.09458, learns both.

    Attributes:
        weight: Prototypes (k, d); only their directions count.
        scale: Factor of the cosines.

    Args:
        channels: Width of the features.
        classes: Number of outputs.
        scale: Keep this factor; None to learn it. 1 leaves bare cosines, for margin losses.
    """

    def __init__(self, channels: int, classes: int, *, scale: float | None = None) -> None:
        super().__init__()
        self.out_features = classes
        self.weight = nn.Parameter(torch.empty(classes, channels))
        nn.init.trunc_normal_(self.weight, std=0.02)
        if scale is None:
            self.scale: Tensor = nn.Parameter(torch.tensor(COSINE_SCALE))
        else:
            self.register_buffer("scale", torch.tensor(float(scale)))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (n, k) of features (n, d)."""
        cosines = F.normalize(features.float(), dim=1) @ F.normalize(self.weight, dim=1).mT
        return self.scale * cosines


class CacheHead(nn.Module):
    """A head and a cache of labelled features beside it (Zhang 2021, arXiv 2111.03930).

    Logits are `base + alpha * exp(-beta * (1 - cosines)) @ values`.

    Attributes:
        weight: Keys (m, d), the features of the support; learned in the tuned variant.
        values: Shares (m, k): a row has 1 / (images of its class) at its class.
        alpha: Weight of the cache; 0 leaves the base alone.
        beta: Sharpness of the match.
    """

    values: Tensor
    alpha: Tensor
    beta: Tensor

    def __init__(self, base: nn.Module, channels: int, *, classes: int, keys: int) -> None:
        super().__init__()
        self.out_features = classes
        self.base = base
        self.weight = nn.Parameter(torch.zeros(keys, channels))
        self.register_buffer("values", torch.zeros(keys, classes))
        self.register_buffer("alpha", torch.tensor(1.0))
        self.register_buffer("beta", torch.tensor(5.5))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (n, k) of features (n, d)."""
        cosines = F.normalize(features.float(), dim=1) @ F.normalize(self.weight, dim=1).mT
        near = (-self.beta * (1 - cosines)).exp()  # (n, m)
        logits: Tensor = self.base(features) + self.alpha * (near @ self.values)
        return logits


class GrownHead(nn.Module):
    """A head, and rows that were appended for new classes.

    The old head computes by itself: its logits stay the same to the bit.

    Attributes:
        weight: Directions (k, d) of the new classes.
        bias: Of the new classes (k,).
        centre: Mean of features of old classes, which new features are taken less of.
    """

    centre: Tensor

    def __init__(self, base: nn.Module, channels: int, *, old: int, added: int) -> None:
        super().__init__()
        self.out_features = old + added
        self.base = base
        self.weight = nn.Parameter(torch.zeros(added, channels))
        self.bias = nn.Parameter(torch.zeros(added))
        self.scale = nn.Parameter(torch.full((added,), COSINE_SCALE))
        self.register_buffer("centre", torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (n, old + added) of features (n, d)."""
        directions = F.normalize(features.float() - self.centre, dim=1)
        cosines = directions @ F.normalize(self.weight, dim=1).mT  # (n, added)
        return torch.cat([self.base(features), self.scale * cosines + self.bias], dim=1)
