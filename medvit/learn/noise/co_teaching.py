"""Co-teaching: two networks, each learns from what the other finds easy.

Han 2018, arXiv 1804.06872. A wrong label has a large loss for a while, and two networks
of different beginnings do not make the same mistakes.
"""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

RAMP_EPOCHS = 10


class CoTeaching(nn.Module):
    """The loss of a batch under two networks; both see the same views.

    Args:
        nets: Two networks of the same form and different weights.
        noise_rate: Share of wrong labels, in [0, 1/2].
        ramp_epochs: Epochs over which the share left out grows to the noise rate.

    Raises:
        ValueError: If the noise rate is out of range: beyond one half, small losses no
            longer mean right labels.
    """

    def __init__(
        self,
        nets: tuple[nn.Module, nn.Module],
        *,
        noise_rate: float,
        ramp_epochs: int = RAMP_EPOCHS,
    ) -> None:
        super().__init__()
        if not 0 <= noise_rate <= 0.5:
            msg = f"co-teaching needs a noise rate of 0 to 0.5, got {noise_rate}"
            raise ValueError(msg)
        self.nets = nn.ModuleList(nets)
        self.noise_rate = noise_rate
        self.ramp_epochs = ramp_epochs
        self.epoch = 0

    @property
    def net(self) -> nn.Module:
        """The network that is kept: the first, whichever turns out better."""
        return self.nets[0]

    @property
    def kept_share(self) -> float:
        """Share of each class that is learnt from in the present epoch."""
        return 1 - self.noise_rate * min(self.epoch / self.ramp_epochs, 1.0)

    def begin_epoch(self, epoch: int) -> None:
        """Say which epoch begins, from 0."""
        self.epoch = epoch

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Return `loss`, the sum of both, and `kept`, the share learnt from.

        Args:
            batch: Images (n, c, h, w) and class indices (n,).
        """
        images, targets = batch
        terms = [
            F.cross_entropy(net(images).float(), targets, reduction="none") for net in self.nets
        ]
        easy = [smallest(each.detach(), targets, share=self.kept_share) for each in terms]
        # Each network learns from the choice of the other; the mean is over what is kept.
        loss = terms[0][easy[1]].mean() + terms[1][easy[0]].mean()
        kept = torch.tensor(len(easy[0]) / len(targets))
        return {"loss": loss, "kept": kept}


def smallest(losses: Tensor, targets: Tensor, *, share: float) -> Tensor:
    """Return the places of the smallest losses of each class, rising.

    The quota is per class, at least one: rare classes have large losses because they are
    rare, and would otherwise be left out as wrong.

    Args:
        losses: (n,).
        targets: (n,) class indices.
        share: Share of each class that is kept.

    Examples:
        >>> losses = torch.tensor([0.1, 5.0, 0.2, 9.0])
        >>> smallest(losses, torch.tensor([0, 0, 0, 1]), share=0.6)
        tensor([0, 2, 3])
    """
    kept = []
    for label in torch.unique(targets):
        own = torch.nonzero(targets == label).flatten()
        count = max(1, ceil(share * len(own) - 1e-9))
        order = torch.argsort(losses[own], stable=True)
        kept.append(own[order[:count]])
    return torch.cat(kept).sort().values
