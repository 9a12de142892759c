"""Losses for classes of unequal size, by the names that configs use."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.learn.longtail.class_weights import check_counts, effective_number_weights
from medvit.learn.longtail.margins import MarginLoss

LossName = Literal[
    "cross_entropy",
    "focal",
    "class_balanced",
    "ldam_drw",
    "balanced_softmax",
    "logit_adjustment",
]


class AdjustedLoss(nn.Module):
    """Cross entropy of logits shifted by the log of the class priors.

    Menon 2020, arXiv 2007.07314, equation 10: train on `f + tau log prior` of every
    class, use the raw `f`. With `tau` 0 this is plain cross entropy; with `tau` 1 it is
    balanced softmax (Ren 2020, arXiv 2007.10740), whose shift is `log n`: the two differ
    by a constant that softmax does not see.
    """

    shift: Tensor

    def __init__(self, counts: Tensor, *, tau: float, label_smoothing: float = 0.0) -> None:
        super().__init__()
        check_counts(counts)
        self.register_buffer("shift", tau * torch.log(counts.float() / counts.sum()))
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss.

        Args:
            logits: Shape (n, k).
            targets: Class indices (n,), or class probabilities (n, k).
        """
        shifted = logits.float() + self.shift
        return F.cross_entropy(shifted, targets, label_smoothing=self.label_smoothing)


class FocalLoss(nn.Module):
    """Cross entropy in which easy images count less, and classes by their weight.

    Lin 2017, arXiv 1708.02002: each term is scaled by `(1 - p)^gamma` of its class. With
    weights by effective numbers it is class-balanced focal loss (Cui 2019, arXiv
    1901.05555). The mean is over the weights, so that they change the share of each class
    and not the size of the step.
    """

    weights: Tensor

    def __init__(self, weights: Tensor, *, gamma: float = 2.0) -> None:
        super().__init__()
        if gamma < 0:
            msg = f"gamma must not be negative, got {gamma}"
            raise ValueError(msg)
        self.register_buffer("weights", weights.float())
        self.gamma = gamma

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of logits (n, k) under class indices (n,) or shares (n, k)."""
        log_p = F.log_softmax(logits.float(), dim=1)
        shares = targets if targets.ndim == 2 else F.one_hot(targets, logits.shape[1])
        counted = shares * self.weights
        terms = counted * (1 - log_p.exp()) ** self.gamma * -log_p
        return terms.sum() / counted.sum()


def build_loss(name: LossName, counts: Tensor, *, label_smoothing: float = 0.0) -> nn.Module:
    """Return a loss by the name that configs use.

    Args:
        counts: Images a class, shape (k,); soft labels count by their share.
        label_smoothing: For the losses that are a cross entropy of shifted logits.

    Raises:
        ValueError: If a class has no image.
    """
    check_counts(counts)
    if name == "focal":
        return FocalLoss(torch.ones_like(counts, dtype=torch.float32))
    if name == "class_balanced":
        return FocalLoss(effective_number_weights(counts))
    if name == "ldam_drw":
        return MarginLoss(counts)
    tau = 0.0 if name == "cross_entropy" else 1.0
    return AdjustedLoss(counts, tau=tau, label_smoothing=label_smoothing)


def adjust_after_training(logits: Tensor, counts: Tensor, *, tau: float = 1.0) -> Tensor:
    """Return logits of a plainly trained network, corrected for the class priors.

    Menon 2020, equation 9: `f - tau log prior`. Never for a network that was trained with
    a correction: that would favour rare classes twice.

    Raises:
        ValueError: If a class has no image.
    """
    check_counts(counts)
    return logits - tau * torch.log(counts.float() / counts.sum()).to(logits)


@torch.no_grad()
def adjust_bias(head: nn.Module, counts: Tensor, *, tau: float = 1.0) -> None:
    """Correct a plainly trained linear head for the class priors, in place.

    `adjust_after_training` as a part of the weights: the bias of each class loses
    `tau log prior`, so that whatever runs the model needs to know nothing of it.

    Raises:
        ValueError: If the head has no bias of as many classes.
    """
    bias = getattr(head, "bias", None)
    if not isinstance(bias, Tensor) or bias.shape != counts.shape:
        msg = f"a head with a bias of {len(counts)} classes is needed, got {type(head).__name__}"
        raise ValueError(msg)
    bias.copy_(adjust_after_training(bias, counts, tau=tau))
