"""Learning one label per image: the objective, prediction, and calibration."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.data.augment.mixing import MixSettings, draw_mix, mix_images, mix_targets
from medvit.data.surface import as_input
from medvit.learn.tuning.depth import depth_groups
from medvit.learn.tuning.frozen import rest_frozen
from medvit.learn.tuning.tuned import Tuned
from medvit.models.heads.classify import DefectClassifier
from medvit.models.textured import TexturedBackbone

LOG_TEMPERATURE_BOUND = 4.0


class ClassifyObjective(nn.Module):
    """The loss of a batch of images and targets under a network.

    Args:
        net: The network; parts of it that do not learn stay in evaluation mode.
        loss: Takes logits and class indices, or class shares.
        mixing: How images are mixed in training.
    """

    def __init__(
        self, net: nn.Module, *, loss: nn.Module, mixing: MixSettings | None = None
    ) -> None:
        super().__init__()
        self.net = net
        self.loss = loss
        self.mixing = mixing or MixSettings()
        self.train()  # the training loop takes modes as it finds them

    def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss of images (n, c, h, w) and their targets."""
        images, targets = batch
        if self.training and self.mixing.method != "none":
            images, targets = self.mixed(images, targets)
        loss: Tensor = self.loss(self.net(images), targets)
        return loss

    def train(self, mode: bool = True) -> ClassifyObjective:
        """Set the mode; what does not learn stays in evaluation mode."""
        super().train(mode)
        if mode:
            rest_frozen(self)
        return self

    def mixed(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return mixed images and their class shares, drawn from the global random state.

        The training loop seeds that state anew at each step, so a resumed run mixes alike.
        """
        seed = int(torch.randint(2**62, ()))
        labels = targets.argmax(dim=1) if targets.ndim == 2 else targets
        size = (images.shape[2], images.shape[3])
        generator = torch.Generator().manual_seed(seed)
        mix = draw_mix(self.mixing, labels=labels, size=size, generator=generator)
        if mix is None:
            return images, targets
        content = None
        if self.mixing.method == "tokenmix" and isinstance(self.net, DefectClassifier):
            content = content_maps(self.net, images, labels)
        shares = targets
        if targets.ndim == 1 and isinstance(self.net, DefectClassifier):
            shares = F.one_hot(targets, self.net.classes).float()
        return mix_images(images, mix), mix_targets(shares, mix, content)


class TunedObjective(ClassifyObjective):
    """A classifier whose depths learn at rates of their own.

    Args:
        net: The classifier.
        loss: As of `ClassifyObjective`.
        tuned: How it is tuned.
        lr: Peak learning rate of the head.
        mixing: As of `ClassifyObjective`.
    """

    net: DefectClassifier

    def __init__(
        self,
        net: DefectClassifier,
        *,
        loss: nn.Module,
        tuned: Tuned,
        lr: float,
        mixing: MixSettings | None = None,
    ) -> None:
        super().__init__(net, loss=loss, mixing=mixing)
        self.tuned = tuned
        self.lr = lr

    def parameter_groups(self, *, weight_decay: float) -> list[dict[str, Any]]:
        """Return groups for the optimiser, also of what is frozen for now."""
        scale = self.tuned.lr_scale
        return depth_groups(self.net, lr=self.lr, weight_decay=weight_decay, lr_scale=scale)


@torch.no_grad()
def content_maps(net: DefectClassifier, images: Tensor, labels: Tensor) -> Tensor:
    """Return where a classifier sees the labelled class, non-negative (n, h, w).

    Class activation (Zhou 2016, arXiv 1512.04150): what each place adds to the logit of
    its label above the mean place. Without a linear head, the norm of the features.
    """
    was_training = net.training
    net.eval()
    grid = net.backbone(images).float()  # (n, c, h, w)
    net.train(was_training)
    if was_training:
        rest_frozen(net)
    grid = grid - grid.mean(dim=(2, 3), keepdim=True)
    if isinstance(net.head, nn.Linear):
        weight = net.head.weight[labels].float()  # (n, c)
        return F.relu((grid * weight[:, :, None, None]).sum(1))
    lengths: Tensor = torch.linalg.vector_norm(grid, dim=1)
    return lengths


@torch.no_grad()
def predict_features(
    net: DefectClassifier, images: NDArray[np.uint8], *, batch_size: int = 32
) -> Tensor:
    """Return what the head reads, (n, d), of images (n, h, w) or (n, h, w, 3).

    Evaluation mode and fp32; no image gives no row.
    """
    net.eval()
    device = next(net.parameters()).device
    parts = [torch.empty(0, net.backbone.out_channels)]
    for start in range(0, len(images), batch_size):
        batch = torch.stack([as_input(image) for image in images[start : start + batch_size]])
        parts.append(net.features(batch.to(device)).float().cpu())
    return torch.cat(parts)


@torch.no_grad()
def learn_scale(
    backbone: TexturedBackbone, images: NDArray[np.uint8], *, batch_size: int = 32
) -> None:
    """Set the scale of features by training images (n, h, w) or (n, h, w, 3), labelled or not.

    Raises:
        ValueError: If there are fewer than 2.
    """
    backbone.eval()
    device = next(backbone.parameters()).device
    parts = [torch.empty(0, backbone.out_channels)]
    for start in range(0, len(images), batch_size):
        batch = torch.stack([as_input(image) for image in images[start : start + batch_size]])
        parts.append(backbone.raw(batch.to(device)).float().cpu())
    backbone.learn_scale(torch.cat(parts))


@torch.inference_mode()
def predict_logits(net: nn.Module, images: NDArray[np.uint8], *, batch_size: int = 32) -> Tensor:
    """Return logits (n, k) of images (n, h, w) or (n, h, w, 3), in evaluation mode and fp32.

    Raises:
        ValueError: If there is no image.
    """
    if len(images) == 0:
        msg = "predicting needs at least one image, got 0"
        raise ValueError(msg)
    net.eval()
    device = next(net.parameters()).device
    parts = []
    for start in range(0, len(images), batch_size):
        batch = torch.stack([as_input(image) for image in images[start : start + batch_size]])
        parts.append(net(batch.to(device)).float().cpu())
    return torch.cat(parts)


class FeatureReader:
    """What a classifier whose backbone no longer learns makes of images; a set is read once.

    Args:
        net: Its head may be replaced meanwhile; logits are of the one that it has by then.
    """

    def __init__(self, net: DefectClassifier) -> None:
        self.net = net
        self._known: dict[int, tuple[NDArray[np.uint8], Tensor]] = {}

    def features(self, images: NDArray[np.uint8]) -> Tensor:
        """Return what the head reads, (n, d), of images (n, h, w) or (n, h, w, 3)."""
        known = self._known.get(id(images))
        if known is None:
            # The images are kept too, or another array could come to their place in memory.
            known = self._known[id(images)] = images, predict_features(self.net, images)
        return known[1]

    @torch.no_grad()
    def logits(self, images: NDArray[np.uint8]) -> Tensor:
        """Return logits (n, k) of images (n, h, w) or (n, h, w, 3), in evaluation mode and fp32."""
        self.net.eval()
        device = next(self.net.parameters()).device
        found: Tensor = self.net.head(self.features(images).to(device))
        return found.float().cpu()


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature that minimises the loss of held-out logits / temperature.

    Guo 2017, arXiv 1706.04599: one number, so the order of classes never changes. It
    is kept within exp(-4) and exp(4): images that are all right have no minimum.

    Args:
        logits: Shape (n, k), from images not trained on.
        labels: Class indices (n,), or class shares (n, k).
    """
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    scores = logits.double()
    wanted = labels.double() if labels.ndim == 2 else labels
    optimizer = torch.optim.LBFGS([log_t], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        bounded = log_t.clamp(-LOG_TEMPERATURE_BOUND, LOG_TEMPERATURE_BOUND)
        loss = F.cross_entropy(scores / bounded.exp(), wanted)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    found = float(log_t.detach())
    return math.exp(min(LOG_TEMPERATURE_BOUND, max(-LOG_TEMPERATURE_BOUND, found)))
