"""A linear head from a few labels, spread over unlabelled images of the same kind."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medvit.learn.pretraining.payoff import linear_probe
from medvit.learn.pretraining.spread_labels import spread_labels
from medvit.learn.tuning.prototype import check_support

FEW = 20
"""Images a class below which weights are held shorter."""

PENALTY_FEW, PENALTY_MANY = 1e-2, 1e-3

MOST_IMAGES = 6000
"""All pairs of them are compared, in double precision: 300 MB a table."""


def spread_head(
    features: Tensor, labels: Tensor, unlabelled: Tensor, *, names: Sequence[str]
) -> tuple[nn.Linear, Tensor]:
    """Return a logistic regression of given and spread labels, and the spread ones.

    Without an unlabelled image it is that of the given labels.

    Args:
        features: Of the labelled images, (n, d).
        labels: Their class indices (n,).
        unlabelled: Features (m, d); n + m at most 6000.
        names: Of the classes.

    Returns:
        The head, and a class index for each unlabelled image, (m,).

    Raises:
        ValueError: If a class has no label, or there are more images than can be compared.
    """
    check_support(labels, names=names)
    count = len(features) + len(unlabelled)
    if count > MOST_IMAGES:
        msg = f"labels spread over at most {MOST_IMAGES} images, all pairs compared, got {count}"
        raise ValueError(msg)
    images, found = torch.cat([features, unlabelled]), labels
    if len(unlabelled):
        places = torch.arange(len(features))
        found = spread_labels(images, places, labels, classes=len(names))
    penalty = PENALTY_FEW if len(features) < FEW * len(names) else PENALTY_MANY
    rule = linear_probe(images, found, classes=len(names), penalty=penalty)
    head = nn.Linear(features.shape[1], len(names))
    head.weight.data = rule.weight.mT.contiguous().to(head.weight)
    head.bias.data = rule.bias.to(head.bias)
    return head, found[len(labels) :]
