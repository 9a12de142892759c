"""A few labels spread along the nearest neighbours of many unlabelled images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

NEIGHBOURS = 10
KEEP = 0.95
SHARPNESS = 20.0
ROUNDS = 50


def spread_labels(features: Tensor, places: Tensor, labels: Tensor, *, classes: int) -> Tensor:
    """Return a class index for every image, (n,), after Zhou 2004, "local and global consistency".

    Scores flow along the graph of nearest neighbours, `F = 0.95 S F + 0.05 Y`, with the
    symmetric normalised weights S; each class then weighs the same over all images, so that
    a class of near neighbours does not take everything. What was labelled keeps its label.

    Args:
        features: Of all images, labelled or not, (n, d).
        places: Which of them are labelled, (m,).
        labels: Their class indices (m,), each class at least once.
        classes: How many there are.

    Raises:
        ValueError: If a class has no label.
    """
    missing = sorted({*range(classes)} - {*labels.tolist()})
    if missing:
        msg = f"labels spread from every class, none of class {missing[0]} is given"
        raise ValueError(msg)
    weights = neighbour_weights(features)
    given = torch.zeros(len(features), classes, dtype=weights.dtype)
    given[places, labels] = 1
    given = given / given.sum(dim=0)
    scores = given
    for _ in range(ROUNDS):
        scores = KEEP * weights @ scores + (1 - KEEP) * given
    found = (scores / scores.sum(dim=0)).argmax(dim=1)
    found[places] = labels
    return found


def neighbour_weights(features: Tensor, *, neighbours: int = NEIGHBOURS) -> Tensor:
    """Return the symmetric normalised weights (n, n) of nearest neighbours by cosine.

    A pair weighs `exp(20 (cosine - 1))` if either is among the ten nearest of the other.
    """
    z = F.normalize(features.double(), dim=1)
    cosines = (z @ z.T).fill_diagonal_(-torch.inf)
    nearest, places = cosines.topk(min(neighbours, len(z) - 1), dim=1)
    weights = torch.zeros_like(cosines)
    weights.scatter_(1, places, (SHARPNESS * (nearest - 1)).exp())
    weights = torch.maximum(weights, weights.T)
    roots = weights.sum(dim=1).rsqrt()
    return roots[:, None] * weights * roots
