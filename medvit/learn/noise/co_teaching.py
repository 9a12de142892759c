"""Co-teaching: two networks, each learns from what the other finds easy.

Han 2018, arXiv 1804.06872. A wrong label has a large loss for a while, and two networks
of different beginnings do not make the same mistakes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medvit.learn.noise.two_nets import NoisyLabels, Pair, TwoNets, rank_in_class

RAMP_EPOCHS = 10


class CoTeaching(TwoNets):
    """The loss of a batch under two networks; both see the same views.

    A loss is ranked among the last losses of all images of its label, and not among the few
    of its batch: a rare class has large losses because it is rare, and a batch holds one
    image of it or none.

    Args:
        pair: The networks.
        noisy: The labels; of each class the wrong share is left out.
        ramp_epochs: Epochs over which the share left out grows to the wrong share.
    """

    def __init__(self, pair: Pair, noisy: NoisyLabels, *, ramp_epochs: int = RAMP_EPOCHS) -> None:
        super().__init__(pair, noisy)
        self.ramp_epochs = ramp_epochs

    @property
    def kept_shares(self) -> Tensor:
        """Share (k,) of each class that is learnt from in the present epoch."""
        return 1 - self.noisy.wrong_shares * min(self.epoch / max(1, self.ramp_epochs), 1.0)

    def forward(self, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        """Return `loss`, the sum of both, and `kept`, the share learnt from.

        Args:
            batch: Images (n, c, h, w), class indices (n,), and the place of each image among
                all (n,).
        """
        images, targets, places = batch
        terms = [self.terms(net(images), targets) for net in self.nets]
        labels = self.noisy.labels.to(targets.device)
        chosen = []
        for row, each in zip(self.seen, terms, strict=True):
            row[places] = each.detach()
            chosen.append(easy_ones(row, labels, shares=self.kept_shares)[places])
        # Each network learns from the choice of the other; the mean is over what is kept.
        loss = mean_of(terms[0], chosen[1]) + mean_of(terms[1], chosen[0])
        kept = torch.stack(chosen).float().mean()
        return {"loss": loss, "kept": kept}


def easy_ones(losses: Tensor, labels: Tensor, *, shares: Tensor) -> Tensor:
    """Return which images (n,) are among the smallest losses of their label.

    The quota is per class, at least one: otherwise rare classes would be left out as wrong.

    Args:
        losses: (n,).
        labels: (n,) class indices.
        shares: (k,) share of each class that is kept.

    Examples:
        >>> losses = torch.tensor([0.1, 5.0, 0.2, 9.0])
        >>> easy_ones(losses, torch.tensor([0, 0, 0, 1]), shares=torch.tensor([0.6, 0.1]))
        tensor([ True, False,  True,  True])
    """
    counts = torch.bincount(labels, minlength=len(shares))
    quotas = torch.ceil(shares.to(labels.device) * counts - 1e-4).long().clamp_min(1)
    return rank_in_class(losses, labels) < quotas[labels]


def mean_of(terms: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean of the chosen losses; 0 where none is."""
    return (terms * chosen).sum() / chosen.sum().clamp_min(1)
