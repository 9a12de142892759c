"""Two networks that learn side by side from labels that may be wrong, and one that ships."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import Dataset

from medvit.data.augment.surface import SurfaceViews, view_seed
from medvit.data.surface import as_input
from medvit.learn.classify import predict_logits
from medvit.learn.fit import parameter_groups
from medvit.learn.tuning.depth import depth_groups
from medvit.learn.tuning.frozen import rest_frozen
from medvit.learn.tuning.tuned import Tuned
from medvit.models.heads.classify import DefectClassifier

MOST_WRONG = 0.5
"""Beyond this share of wrong labels, small losses no longer mean right ones."""

MOST_WRONG_OF_A_CLASS = 0.9
"""A class of which more seems wrong keeps a tenth of its images all the same."""

DOUBT = 5.0
"""Images by which the wrong share of a small class is drawn to that of all labels."""


@dataclass(frozen=True, slots=True, eq=False)
class NoisyLabels:
    """The labels of a training set and what is taken to be known of them.

    Attributes:
        labels: (n,) class indices as given.
        rate: Share of wrong labels, in [0, 1/2].
        wrong_shares: (k,) share of wrong ones among the images that are called each class.
        prior: (k,) share of each class among what images really show.
        shift: (k,) added to logits in training, such as the log of the prior; zeros for none.
        smoothing: Share of a label that is spread over all classes in training.

    Raises:
        ValueError: If the rate is out of range, or a shape does not fit.
    """

    labels: Tensor
    rate: float
    wrong_shares: Tensor
    prior: Tensor
    shift: Tensor
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= MOST_WRONG:
            msg = f"learning from small losses needs a noise rate of 0 to 0.5, got {self.rate}"
            raise ValueError(msg)
        if not len(self.wrong_shares) == len(self.prior) == len(self.shift):
            sizes = [len(each) for each in (self.wrong_shares, self.prior, self.shift)]
            msg = f"shares, prior and shift must be of as many classes, got {sizes}"
            raise ValueError(msg)


def evenly_wrong(labels: Tensor, *, classes: int, rate: float) -> NoisyLabels:
    """Return labels of which the same share is taken as wrong in every class."""
    counts = torch.bincount(labels, minlength=classes).float()
    shares = torch.full((classes,), float(rate))
    return NoisyLabels(labels, rate, shares, counts / counts.sum(), torch.zeros(classes))


def by_joint(labels: Tensor, joint: NDArray[np.float64]) -> NoisyLabels:
    """Return labels with what an estimated joint (label, class) says of them.

    The wrong share of a class of few images is drawn to that of all, as if `DOUBT` more
    images of the usual kind were there.
    """
    counts = torch.bincount(labels, minlength=len(joint)).float()
    table = torch.from_numpy(joint).float()
    rate = max(0.0, 1 - float(table.diagonal().sum()))
    own = 1 - table.diagonal() / table.sum(1).clamp_min(1e-12)
    shares = (own * counts + rate * DOUBT) / (counts + DOUBT)
    prior = (table.sum(0) * len(labels)).clamp_min(1.0)
    shares = shares.clamp(0, MOST_WRONG_OF_A_CLASS)
    return NoisyLabels(labels, rate, shares, prior / prior.sum(), torch.zeros(len(joint)))


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two networks of the same form and different weights, and how they are tuned.

    Attributes:
        nets: The networks.
        tuned: How each is tuned; None: plain groups of parameters.
        lr: Peak learning rate of heads.
    """

    nets: tuple[nn.Module, nn.Module]
    tuned: Tuned | None = None
    lr: float = 1e-3


class TwoNets(nn.Module):
    """What the two-network methods share: the networks, the labels, and the loss of an image."""

    shift: Tensor
    seen: Tensor

    def __init__(self, pair: Pair, noisy: NoisyLabels) -> None:
        super().__init__()
        self.nets = nn.ModuleList(pair.nets)
        self.pair = pair
        self.noisy = noisy
        self.register_buffer("shift", noisy.shift.float(), persistent=False)
        # The loss each network last gave each image; part of a checkpoint.
        self.register_buffer("seen", torch.full((2, len(noisy.labels)), torch.inf))
        self.epoch = 0

    @property
    def asks_losses(self) -> bool:
        """Whether the epoch that begins has to be told the loss of every image."""
        return False

    def begin_epoch(self, epoch: int, losses: Tensor | None = None) -> None:
        """Say which epoch begins, from 0, with the losses (2, n) where they are asked for."""
        del losses
        self.epoch = epoch

    def expects_losses(self, epoch: int) -> bool:
        """Return whether `begin_epoch` wants losses for an epoch."""
        self.epoch = epoch
        return self.asks_losses

    def train(self, mode: bool = True) -> TwoNets:
        """Set the mode; what does not learn stays in evaluation mode."""
        super().train(mode)
        if mode:
            rest_frozen(self)
        return self

    def parameter_groups(self, *, weight_decay: float) -> list[dict[str, Any]]:
        """Return groups for the optimiser, of both networks alike."""
        groups: list[dict[str, Any]] = []
        for net in self.nets:
            if self.pair.tuned is not None and isinstance(net, DefectClassifier):
                scale = self.pair.tuned.lr_scale
                own = depth_groups(net, lr=self.pair.lr, weight_decay=weight_decay, lr_scale=scale)
            else:
                own = parameter_groups(net, weight_decay=weight_decay)
            groups += own
        return groups

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss (n,) of each image under shifted logits."""
        return F.cross_entropy(
            logits.float() + self.shift,
            targets,
            reduction="none",
            label_smoothing=self.noisy.smoothing,
        )


def rank_in_class(losses: Tensor, labels: Tensor) -> Tensor:
    """Return the rank (n,) of each image's loss among the images of its label, from 0.

    Examples:
        >>> rank_in_class(torch.tensor([3.0, 1.0, 2.0, 9.0]), torch.tensor([0, 0, 0, 1]))
        tensor([2, 0, 1, 0])
    """
    order = torch.argsort(losses, stable=True)
    order = order[torch.argsort(labels[order], stable=True)]
    counts = torch.bincount(labels)
    starts = counts.cumsum(0) - counts
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(labels), device=labels.device) - starts[labels[order]]
    return ranks


class PlacedViews(Dataset[tuple[Tensor, ...]]):
    """Views of each image, drawn once for both networks, with its label and its place.

    Args:
        images: uint8 (n, h, w) or (n, h, w, 3).
        labels: (n,) class indices.
        views: How views are drawn; None: the image as it is.
        seed: With epoch, image and number it settles a view.
        count: Views of an image; the first is that of a plain training.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: Tensor,
        *,
        views: SurfaceViews | None,
        seed: int,
        count: int = 1,
    ) -> None:
        self.images = images
        self.labels = labels
        self.views = views
        self.seed = seed
        self.count = count

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, ...]:
        """Return the views (c, side, side), the label and the place of image `index`."""
        epoch, index = key
        drawn = [self._view(epoch, index, number) for number in range(self.count)]
        return (*drawn, self.labels[index], torch.tensor(index))

    def _view(self, epoch: int, index: int, number: int) -> Tensor:
        image = self.images[index]
        if self.views is not None:
            image = self.views.view(image, seed=view_seed(self.seed, epoch, index, number))
        return as_input(image)


class EpochStart(Callback):
    """Tells two networks which epoch begins, with their losses of all images where they ask.

    The losses follow from the weights alone, so a training that goes on divides as one that
    was never interrupted.

    Args:
        learner: The two networks.
        images: All training images, in the order of their places.
    """

    def __init__(self, learner: TwoNets, images: NDArray[np.uint8]) -> None:
        self.learner = learner
        self.images = images

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the epoch."""
        losses = None
        if self.learner.expects_losses(trainer.current_epoch):
            losses = losses_of_all(self.learner, self.images)
            pl_module.train()
        self.learner.begin_epoch(trainer.current_epoch, losses)


@torch.no_grad()
def losses_of_all(learner: TwoNets, images: NDArray[np.uint8]) -> Tensor:
    """Return the loss (2, n) of every image under each network, in evaluation mode, fp32."""
    labels, shift = learner.noisy.labels, learner.noisy.shift
    rows = []
    for net in learner.nets:
        logits = predict_logits(net, images) + shift
        rows.append(F.cross_entropy(logits, labels, reduction="none"))
    return torch.stack(rows)


def better_net(
    pair: Pair, images: NDArray[np.uint8], labels: Tensor
) -> tuple[int, tuple[float, float]]:
    """Return which network ships, 0 or 1, and the loss of each on held-out images.

    The one with the lower loss; of equal ones, and without held-out images, the first.
    """
    if len(images) == 0:
        return 0, (float("nan"), float("nan"))
    first, second = (
        float(F.cross_entropy(predict_logits(net, images), labels)) for net in pair.nets
    )
    return int(second < first), (first, second)
