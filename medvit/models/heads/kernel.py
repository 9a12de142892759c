"""A head that asks how like an image is to each labelled one."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class KernelHead(nn.Module):
    """Logits are weighted sums of `exp(-gamma |x - s|^2)` over the labelled images s.

    Attributes:
        support: Features of the labelled images (m, d).
        weight: Of each labelled image for each class, (k, m).
        gamma: Of the squared distance of features.

    Args:
        channels: Width of the features.
        classes: Number of outputs.
        keys: Number of labelled images.
    """

    support: Tensor
    gamma: Tensor

    def __init__(self, channels: int, classes: int, *, keys: int) -> None:
        super().__init__()
        self.out_features = classes
        self.weight = nn.Parameter(torch.zeros(classes, keys))
        self.register_buffer("support", torch.zeros(keys, channels))
        self.register_buffer("gamma", torch.tensor(1.0))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (n, k) of features (n, d)."""
        return self.likeness(features) @ self.weight.mT

    def likeness(self, features: Tensor) -> Tensor:
        """Return how like features (n, d) are to each labelled image, (n, m), 0..1."""
        near: Tensor = (-self.gamma * squared_distances(features.float(), self.support)).exp()
        return near


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """Return |a - b|^2 of all pairs of rows (n, d) and (m, d), shape (n, m).

    Examples:
        >>> squared_distances(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[25.,  0.]])
    """
    squares = first.square().sum(dim=1)[:, None] + second.square().sum(dim=1)
    return (squares - 2 * first @ second.mT).clamp(min=0)
