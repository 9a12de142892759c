"""Classes are what their few images have in common: nothing is trained.

Snell 2017, arXiv 1703.05175. Features are normalised, averaged over a class, and normalised
again. With a covariance that all classes share, the nearest mean is a linear head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.learn.tuning.frozen import train_only
from medvit.learn.tuning.tuned import Tuned, TuningOptions
from medvit.models.heads.classify import DefectClassifier
from medvit.models.heads.prototype import CosineHead


def tune(net: DefectClassifier, options: TuningOptions) -> Tuned:
    """Freeze everything; the head is computed."""
    del options
    train_only(net, chosen=lambda name: False)
    return Tuned(trains=False)


def check_support(labels: Tensor, *, names: Sequence[str]) -> None:
    """Refuse a support that lacks a class.

    Raises:
        ValueError: If a class has no image; the message names it.
    """
    counts = torch.bincount(labels, minlength=len(names)).tolist()
    missing = [name for name, count in zip(names, counts, strict=True) if not count]
    if missing:
        msg = f"a prototype needs at least one image a class, none of {', '.join(missing)}"
        raise ValueError(msg)


def class_means(features: Tensor, labels: Tensor, *, classes: int) -> Tensor:
    """Return the mean feature of each class, shape (k, d), in the precision of `features`."""
    shares = F.one_hot(labels, classes).to(features)
    return shares.mT @ features / shares.sum(0)[:, None]


def cosine_head(features: Tensor, labels: Tensor, *, names: Sequence[str]) -> CosineHead:
    """Return a head of one prototype a class.

    Args:
        features: Of the support, shape (n, d).
        labels: Class indices (n,).
        names: Of the classes.

    Raises:
        ValueError: If a class has no image.
    """
    check_support(labels, names=names)
    means = class_means(F.normalize(features.double(), dim=1), labels, classes=len(names))
    head = CosineHead(features.shape[1], len(names))
    head.weight.data = F.normalize(means, dim=1).to(head.weight)
    return head


def tied_covariance_head(features: Tensor, labels: Tensor, *, names: Sequence[str]) -> nn.Linear:
    """Return the linear head of Gaussian classes with one covariance and equal priors.

    Logits are `m^T S^-1 x - m^T S^-1 m / 2` with class means `m`: up to what all classes
    share, minus half the squared Mahalanobis distance.

    Raises:
        ValueError: If a class has no image.
    """
    check_support(labels, names=names)
    wide = features.double()
    means = class_means(wide, labels, classes=len(names))
    rows = torch.linalg.solve(shrunk_covariance(wide, means[labels]), means.mT).mT  # (k, d)
    head = nn.Linear(features.shape[1], len(names))
    head.weight.data = rows.to(head.weight)
    head.bias.data = (-(rows * means).sum(1) / 2).to(head.bias)
    return head


def shrunk_covariance(features: Tensor, means: Tensor) -> Tensor:
    """Return the covariance (d, d) of features about their class means, shrunk to a sphere.

    Ledoit and Wolf 2004: the share of the sphere is estimated from the spread of the
    outer products, so it is large where images are few. Where every class has one image,
    nothing is known of the spread within classes: a sphere of the spread of all.

    Args:
        features: Shape (n, d).
        means: Of the class of each feature, shape (n, d).
    """
    n, d = features.shape
    rest = features - means
    if float(rest.abs().max()) == 0:
        rest = features - features.mean(0)
        radius = (rest**2).mean().clamp(min=torch.finfo(rest.dtype).tiny)
        return radius * torch.eye(d, dtype=rest.dtype)
    covariance = rest.mT @ rest / n
    sphere = covariance.trace() / d * torch.eye(d, dtype=rest.dtype)
    distance = ((covariance - sphere) ** 2).sum()
    squares = (rest**2).sum(1) ** 2 - 2 * ((rest @ covariance) * rest).sum(1)
    noise = (squares.sum() / n + (covariance**2).sum()) / n
    share = (noise / distance).clamp(0, 1) if float(distance) else torch.ones(())
    return share * sphere + (1 - share) * covariance
