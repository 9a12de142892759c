"""A head of kernel ridge regression: what a linear head cannot part, likeness can."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medvit.learn.tuning.prototype import check_support
from medvit.models.heads.kernel import KernelHead, squared_distances

REACH = 0.6
"""Gamma times the mean squared distance of two labelled images."""
RIDGE = 1e-2
MOST_IMAGES = 6000
"""All pairs of them are compared, in double precision: 300 MB a table."""
SAME_SHARE = 1e-6
"""Of the mean squared distance: nearer images are one and the same."""
SCALES = torch.logspace(-1, 2, 61, dtype=torch.float64)
"""Of logits; which one fits is told by leaving each image out."""


def kernel_head(features: Tensor, labels: Tensor, *, names: Sequence[str]) -> KernelHead:
    """Return kernel ridge regression onto +1 for the class of an image and -1 for the others.

    Its scores become logits by the factor with the least cross entropy where each image is
    left out in turn, in closed form (Rifkin and Lippert 2007).

    Args:
        features: Of the labelled images, (n, d), n at most 6000.
        labels: Their class indices (n,).
        names: Of the classes.

    Raises:
        ValueError: If a class has no image, all images are alike, or there are too many.
    """
    check_support(labels, names=names)
    if len(features) > MOST_IMAGES:
        msg = f"a kernel compares at most {MOST_IMAGES} images, all pairs, got {len(features)}"
        raise ValueError(msg)
    wide = features.double()
    squares = squared_distances(wide, wide)
    apart = float(squares.sum()) / max(1, len(wide) * (len(wide) - 1))
    if apart == 0:
        msg = f"a kernel needs images that differ, got {len(features)} with the same features"
        raise ValueError(msg)
    gamma = REACH / apart
    targets = 2.0 * F.one_hot(labels, len(names)).double() - 1
    inverse = torch.linalg.inv((-gamma * squares).exp() + RIDGE * torch.eye(len(wide)))
    weights = inverse @ targets
    left_out = targets - weights / inverse.diagonal()[:, None]
    losses = torch.stack([F.cross_entropy(scale * left_out, labels) for scale in SCALES])
    head = KernelHead(features.shape[1], len(names), keys=len(features))
    head.support.copy_(features)
    head.gamma.fill_(gamma)
    head.weight.data = (SCALES[losses.argmin()] * weights).mT.contiguous().to(head.weight)
    return head


@torch.no_grad()
def refit_kernel_head(
    head: KernelHead, features: Tensor, labels: Tensor, *, names: Sequence[str]
) -> KernelHead:
    """Return the head as fitted anew on the images it holds and on more of them.

    How these were labelled follows from the equation that gave the weights. One of them that
    comes again counts once, by its label of now.

    Args:
        head: Of a model with the first classes of `names`.
        features: Of the further images, (n, d).
        labels: Their class indices (n,).
        names: Of all classes, new ones last.

    Raises:
        ValueError: If a class has no image, or there are too many.
    """
    apart = squared_distances(head.support.double(), features.double())
    again = (apart <= SAME_SHARE * REACH / head.gamma.double()).any(dim=1)
    told = (head(head.support) + RIDGE * head.weight.mT).argmax(dim=1)  # (K + ridge) w = +1 or -1
    both = torch.cat([head.support[~again], features.to(head.support)])
    return kernel_head(both, torch.cat([told[~again], labels.to(told)]), names=names)
