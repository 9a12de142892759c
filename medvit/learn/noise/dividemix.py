"""DivideMix: labels that look wrong are dropped, and the images are learnt without them.

Li 2020, arXiv 2002.07394. Two networks; each divides the images by the losses of the
other, right labels are refined, wrong ones are guessed, and all are mixed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.learn.noise.loss_mixture import clean_probabilities

LEAST_RIGHT = 0.5
"""Probability from which a label is taken as right."""

UNLABELLED_WEIGHTS = ((0.35, 0.0), (0.85, 25.0), (1.0, 50.0))
"""Largest noise rate and the weight of guessed labels up to it, from the paper's appendix for
ten classes: with the published default of 25 at 20 % others get 91 where 0 gives 96."""


@dataclass(frozen=True, slots=True)
class MixSettings:
    """How images are divided and mixed.

    Attributes:
        warm_up: Epochs of plain training before the first division.
        ramp: Epochs over which the weight of guessed labels grows after it.
        unlabelled_weight: Weight of the loss on guessed labels; see `unlabelled_weight_for`.
        temperature: Sharpens refined and guessed labels.
        alpha: Of the Beta distribution of mixing shares.
        penalise_confidence: In the warm-up; for noise that is not symmetric.
    """

    warm_up: int = 10
    ramp: int = 16
    unlabelled_weight: float = 0.0
    temperature: float = 0.5
    alpha: float = 4.0
    penalise_confidence: bool = False


def unlabelled_weight_for(noise_rate: float) -> float:
    """Return the weight of guessed labels for an estimated noise rate.

    Examples:
        >>> unlabelled_weight_for(0.2), unlabelled_weight_for(0.5)
        (0.0, 25.0)
    """
    return next(weight for most, weight in UNLABELLED_WEIGHTS if noise_rate <= most)


class DivideMix(nn.Module):
    """The loss of a batch under two networks that divide the images for each other.

    Args:
        nets: Two networks of the same form and different weights.
        prior: Share of each class (k,), that mean predictions are held to; the true one, not
            a uniform one, where classes are of unequal size.
        images: Number of training images.
        settings: How to divide and mix.
    """

    prior: Tensor
    clean: Tensor

    def __init__(
        self,
        nets: tuple[nn.Module, nn.Module],
        *,
        prior: Tensor,
        images: int,
        settings: MixSettings | None = None,
    ) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)
        self.settings = settings or MixSettings()
        self.register_buffer("prior", prior.float() / prior.sum())
        # What each network thinks of each label: 1 is right.
        self.register_buffer("clean", torch.ones(2, images), persistent=False)
        self.epoch = 0

    @property
    def net(self) -> nn.Module:
        """The network that is kept: the first."""
        return self.nets[0]

    @property
    def divides(self) -> bool:
        """Whether the warm-up is over."""
        return self.epoch >= self.settings.warm_up

    def begin_epoch(self, epoch: int, losses: Tensor | None = None) -> tuple[bool, bool]:
        """Say which epoch begins, from 0, and divide the images when the warm-up is over.

        Args:
            losses: (2, n) cross entropy of each image under each network in evaluation mode.

        Returns:
            Whether each network found two kinds of losses; where it did not, all labels are
            taken as right in this epoch.
        """
        self.epoch = epoch
        self.clean.fill_(1.0)
        found = [False, False]
        if self.divides and losses is not None:
            for number, row in enumerate(losses.double().cpu().numpy()):
                clean = clean_probabilities(row)
                if clean is not None and 0 < (clean > LEAST_RIGHT).sum() < len(clean):
                    found[number] = True
                    self.clean[number] = torch.from_numpy(clean.astype(np.float32))
        return found[0], found[1]

    def forward(self, batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        """Return `loss`, the sum of both networks, and `right`, the share taken as right.

        Args:
            batch: Two views (n, c, h, w) of each image, class indices (n,), and the place
                of each image among all (n,).
        """
        first, second, targets, places = batch
        if not self.divides:
            loss = sum(
                (self._warm_up(net, first, targets) for net in self.nets), first.new_zeros(())
            )
            return {"loss": loss, "right": loss.new_ones(())}
        views = (first, second)
        with torch.no_grad():
            seen = [self._mean_prediction(net, views) for net in self.nets]
        hot = F.one_hot(targets, len(self.prior)).float()
        losses = []
        for number, net in enumerate(self.nets):
            clean = self.clean[1 - number, places]
            refined = sharpen(
                clean[:, None] * hot + (1 - clean[:, None]) * seen[number],
                self.settings.temperature,
            )
            guessed = sharpen((seen[0] + seen[1]) / 2, self.settings.temperature)
            is_right = clean > LEAST_RIGHT
            labels = torch.where(is_right[:, None], refined, guessed)
            losses.append(self._mixed(net, views, labels, is_right))
        right = (self.clean[:, places] > LEAST_RIGHT).float().mean()
        return {"loss": losses[0] + losses[1], "right": right}

    def _warm_up(self, net: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        logits = net(images).float()
        loss = F.cross_entropy(logits, targets)
        if self.settings.penalise_confidence:
            p = logits.softmax(1)
            loss = loss + (p * p.clamp_min(1e-8).log()).sum(1).mean()
        return loss

    def _mean_prediction(self, net: nn.Module, views: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean probabilities (n, k) of two views, without dropout."""
        was_training = net.training
        net.eval()
        p: Tensor = (net(views[0]).float().softmax(1) + net(views[1]).float().softmax(1)) / 2
        net.train(was_training)
        return p

    def _mixed(
        self, net: nn.Module, views: tuple[Tensor, Tensor], labels: Tensor, is_right: Tensor
    ) -> Tensor:
        """Return MixMatch's loss over both views of all images."""
        settings = self.settings
        x, y = torch.cat(views), torch.cat([labels, labels])
        right = torch.cat([is_right, is_right])
        beta = torch.distributions.Beta(settings.alpha, settings.alpha).sample()
        share = torch.maximum(beta, 1 - beta).to(x)
        other = torch.randperm(len(x), device=x.device)
        logits = net(share * x + (1 - share) * x[other]).float()
        wanted = share * y + (1 - share) * y[other]
        p = logits.softmax(1)
        loss: Tensor = logits.new_zeros(())
        if bool(right.any()):
            loss = -(wanted * logits.log_softmax(1)).sum(1)[right].mean()
        weight = settings.unlabelled_weight * self._ramped()
        if weight > 0 and bool((~right).any()):
            loss = loss + weight * (p - wanted).square()[~right].mean()
        mean = p.mean(0)
        held: Tensor = (self.prior * (self.prior / mean.clamp_min(1e-8)).log()).sum()
        return loss + held

    def _ramped(self) -> float:
        return min(1.0, (self.epoch - self.settings.warm_up + 1) / max(1, self.settings.ramp))


def sharpen(p: Tensor, temperature: float) -> Tensor:
    """Return probabilities (n, k) raised to `1 / temperature` and scaled to sum to 1.

    Examples:
        >>> sharpen(torch.tensor([[0.6, 0.3, 0.1]]), 0.5).round(decimals=3)
        tensor([[0.7830, 0.1960, 0.0220]])
    """
    powered = p ** (1 / temperature)
    return powered / powered.sum(1, keepdim=True)
