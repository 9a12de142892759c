"""DivideMix: labels that look wrong are dropped, and the images are learnt without them.

Li 2020, arXiv 2002.07394. Two networks; each divides the images by the losses of the
other, right labels are refined, wrong ones are guessed, and all are mixed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.learn.noise.co_teaching import easy_ones, mean_of
from medvit.learn.noise.loss_mixture import clean_probabilities
from medvit.learn.noise.two_nets import NoisyLabels, Pair, TwoNets
from medvit.learn.tuning.frozen import rest_frozen

logger = logging.getLogger(__name__)

LEAST_RIGHT = 0.5
"""Probability from which a label is taken as right."""

JUST_RIGHT = 0.51
"""What is thought of a label at least that is kept for the quota of its class."""

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


class DivideMix(TwoNets):
    """The loss of a batch under two networks that divide the images for each other.

    Of each class at least half of what should be right is taken as right, the smallest
    losses first: a rare class has large losses because it is rare.

    Args:
        pair: The networks.
        noisy: The labels; mean predictions are held to their prior.
        settings: How to divide and mix.
    """

    prior: Tensor
    clean: Tensor

    def __init__(
        self, pair: Pair, noisy: NoisyLabels, *, settings: MixSettings | None = None
    ) -> None:
        super().__init__(pair, noisy)
        self.settings = settings or MixSettings()
        self.register_buffer("prior", noisy.prior.float(), persistent=False)
        # What each network thinks of each label: 1 is right.
        self.register_buffer("clean", torch.ones(2, len(noisy.labels)), persistent=False)
        self.found = (False, False)

    @property
    def asks_losses(self) -> bool:
        """Whether the warm-up is over, so that images are divided."""
        return self.epoch >= self.settings.warm_up

    def begin_epoch(self, epoch: int, losses: Tensor | None = None) -> None:
        """Say which epoch begins, from 0, and divide the images when the warm-up is over.

        `found` says afterwards whether each network found two kinds of losses; where it did
        not, all labels are taken as right in this epoch.

        Args:
            losses: (2, n) cross entropy of each image under each network in evaluation mode.
        """
        self.epoch = epoch
        self.clean.fill_(1.0)
        found = [False, False]
        if self.asks_losses and losses is not None:
            for number, row in enumerate(losses.cpu()):
                clean = clean_probabilities(row.double().numpy())
                if clean is not None and bool((clean > LEAST_RIGHT).any()):
                    found[number] = True
                    divided = torch.from_numpy(clean).float()
                    self.clean[number] = self._with_quota(divided, row).to(self.clean)
        self.found = (found[0], found[1])
        if self.asks_losses and not all(found):
            logger.info("epoch %d: losses have one bump, all labels are taken as right", epoch)

    def _with_quota(self, clean: Tensor, losses: Tensor) -> Tensor:
        """Return what is thought of labels, so that no class is left without right ones."""
        labels = self.noisy.labels
        easy = easy_ones(losses, labels, shares=(1 - self.noisy.wrong_shares) / 2)
        return torch.where(easy, clean.clamp_min(JUST_RIGHT), clean)

    def forward(self, batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        """Return `loss`, the sum of both networks, and `right`, the share taken as right.

        Args:
            batch: Two views (n, c, h, w) of each image, class indices (n,), and the place
                of each image among all (n,).
        """
        first, second, targets, places = batch
        if not self.asks_losses:
            warm = [self._warm_up(net, first, targets) for net in self.nets]
            return {"loss": warm[0] + warm[1], "right": warm[0].new_ones(())}
        views = (first, second)
        with torch.no_grad():
            seen = [self._mean_prediction(net, views) for net in self.nets]
        hot = F.one_hot(targets, len(self.prior)).float()
        guessed = sharpen((seen[0] + seen[1]) / 2, self.settings.temperature)
        losses = []
        for number, net in enumerate(self.nets):
            clean = self.clean[1 - number, places]
            refined = sharpen(
                clean[:, None] * hot + (1 - clean[:, None]) * seen[number],
                self.settings.temperature,
            )
            is_right = clean > LEAST_RIGHT
            labels = torch.where(is_right[:, None], refined, guessed)
            losses.append(self._mixed(net, views, labels, is_right))
        right = (self.clean[:, places] > LEAST_RIGHT).float().mean()
        return {"loss": losses[0] + losses[1], "right": right}

    def _warm_up(self, net: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        logits = net(images).float() + self.shift
        loss = F.cross_entropy(logits, targets, label_smoothing=self.noisy.smoothing)
        if self.settings.penalise_confidence:
            p = logits.softmax(1)
            loss = loss + (p * p.clamp_min(1e-8).log()).sum(1).mean()
        return loss

    def _mean_prediction(self, net: nn.Module, views: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean probabilities (n, k) of two views, without dropout."""
        net.eval()
        first, second = ((net(view).float() + self.shift).softmax(1) for view in views)
        net.train()
        rest_frozen(self)
        mean: Tensor = (first + second) / 2
        return mean

    def _mixed(
        self, net: nn.Module, views: tuple[Tensor, Tensor], labels: Tensor, is_right: Tensor
    ) -> Tensor:
        """Return MixMatch's loss over all images.

        The first view of each image is mixed with the second of another. The paper learns from
        both views of each, which costs half as much again as all of this.
        """
        settings = self.settings
        first, second = views
        beta = torch.distributions.Beta(settings.alpha, settings.alpha).sample()
        share = torch.maximum(beta, 1 - beta).to(first)
        other = torch.randperm(len(first)).to(first.device)
        logits = net(share * first + (1 - share) * second[other]).float() + self.shift
        wanted = share * labels + (1 - share) * labels[other]
        p = logits.softmax(1)
        loss: Tensor = mean_of(-(wanted * logits.log_softmax(1)).sum(1), is_right)
        weight = settings.unlabelled_weight * self._ramped()
        if weight > 0:
            loss = loss + weight * mean_of((p - wanted).square().mean(1), ~is_right)
        mean: Tensor = p.mean(0)
        held = (self.prior * (self.prior / mean.clamp_min(1e-8)).log()).sum()
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
