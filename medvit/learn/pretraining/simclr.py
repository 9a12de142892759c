"""SimCLR: two views of an image attract, all others repel (Chen 2020, arXiv 2002.05709)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.learn.pretraining.contrast import mean_features, related
from medvit.learn.pretraining.devices import gathered_rows
from medvit.learn.pretraining.surface_batches import SurfaceBatch


def nt_xent(
    first: Tensor, second: Tensor, *, temperature: float, spared: Tensor | None = None
) -> Tensor:
    """Return the mean contrastive loss over all 2N views, as in the paper's equation 1.

    Published code sums the two halves instead, which is twice this value: a learning
    rate copied from there meets half the loss.

    Args:
        first: Projections of the first views, shape (n, d); need not be normalised.
        second: Projections of the second views, in the same order.
        temperature: Divides the cosine similarities; must be positive.
        spared: Pairs of different images that do not repel each other, bool (n, n).

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
        left_out = torch.eye(2 * n, dtype=torch.bool, device=z.device)
        if spared is not None:
            left_out = left_out | spared.repeat(2, 2)
        logits = logits.masked_fill(left_out, -1e9)
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
    """A backbone that gives a token grid, and the projection of its mean token.

    Args:
        backbone: Encoder of images.
        channels: Of its last map.
        chunk: Images of a forward pass, as `mean_features` takes it.
        keep_share: Of the patches of a ViT in training, likewise.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        channels: int,
        chunk: int | None = None,
        keep_share: float = 1.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = ProjectionHead(channels)
        self.chunk = chunk
        self.keep_share = keep_share

    def forward(self, x: Tensor) -> Tensor:
        """Return projections (n, d) of images (n, 1, h, w)."""
        how = {"chunk": self.chunk, "keep_share": self.keep_share}
        projections: Tensor = self.projection(mean_features(self.backbone, x, **how))  # type: ignore[arg-type]
        return projections


class SimclrLoss(nn.Module):
    """The contrastive loss of a batch of view pairs under a net.

    Args:
        net: What is trained.
        temperature: Of NT-Xent.
        spare_groups: Whether images of one group do not repel each other.
    """

    def __init__(self, net: SimclrNet, *, temperature: float, spare_groups: bool = False) -> None:
        super().__init__()
        self.net = net
        self.temperature = temperature
        self.spare_groups = spare_groups

    def forward(self, batch: SurfaceBatch) -> Tensor:
        """Return the loss of two views of each image."""
        first, second = self.net(batch.views.flatten(0, 1)).chunk(2)
        spared = related(gathered_rows(batch.groups)) if self.spare_groups else None
        pair = gathered_rows(first), gathered_rows(second)
        return nt_xent(*pair, temperature=self.temperature, spared=spared)

    def embed(self, images: Tensor) -> Tensor:
        """Return what the loss compares, (n, d)."""
        projections: Tensor = self.net(images)
        return projections
