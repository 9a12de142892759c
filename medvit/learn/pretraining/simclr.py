"""SimCLR: two views of an image attract, all others repel (Chen 2020, arXiv 2002.05709)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def nt_xent(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    """Return the mean contrastive loss over all 2N views, as in the paper's equation 1.

    Published code sums the two halves instead, which is twice this value: a learning
    rate copied from there meets half the loss.

    Args:
        first: Projections of the first views, shape (n, d); need not be normalised.
        second: Projections of the second views, in the same order.
        temperature: Divides the cosine similarities; must be positive.

    Raises:
        ValueError: If shapes differ, or the temperature is not positive.
    """
    if first.shape != second.shape or first.ndim != 2 or len(first) == 0:
        msg = f"views must be two equal (n, d), got {tuple(first.shape)}, {tuple(second.shape)}"
        raise ValueError(msg)
    if temperature <= 0:
        msg = f"temperature must be positive, got {temperature}"
        raise ValueError(msg)
    n = len(first)
    with torch.autocast(first.device.type, enabled=False):
        z = F.normalize(torch.cat([first, second]).float(), dim=1)  # (2n, d)
        logits = z @ z.T / temperature  # (2n, 2n)
        logits = logits.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=z.device), -1e9)
        return F.cross_entropy(logits, torch.arange(2 * n, device=z.device).roll(n))


class ProjectionHead(nn.Sequential):
    """Two-layer MLP between backbone and loss; thrown away after pretraining."""

    def __init__(self, channels: int, *, hidden: int = 256, out: int = 128) -> None:
        super().__init__(
            nn.Linear(channels, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, out),
        )


class SimclrNet(nn.Module):
    """A backbone that gives a token grid, and the projection of its mean token."""

    def __init__(self, backbone: nn.Module, *, channels: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = ProjectionHead(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return projections (n, d) of images (n, 1, h, w)."""
        projections: Tensor = self.projection(self.backbone(x).mean(dim=(2, 3)))
        return projections


class SimclrLoss(nn.Module):
    """The contrastive loss of a batch of view pairs under a net."""

    def __init__(self, net: SimclrNet, *, temperature: float) -> None:
        super().__init__()
        self.net = net
        self.temperature = temperature

    def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss of two views, each of shape (n, 1, h, w)."""
        first, second = batch
        both = self.net(torch.cat([first, second]))
        return nt_xent(both[: len(first)], both[len(first) :], temperature=self.temperature)
