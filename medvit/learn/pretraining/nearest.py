"""What features know, asked without training: the labels of nearest neighbours."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

TEMPERATURE = 0.07


def nearest_accuracy(features: Tensor, labels: Tensor, groups: Tensor, *, neighbours: int) -> float:
    """Return the share of images whose neighbours of other groups vote for their label.

    Votes are weighted by exp(cosine / 0.07) (Wu 2018, arXiv 1805.01978). Each image is asked
    for once with all others as reference, but for those of its own group.

    Args:
        features: Shape (n, d).
        labels: Class indices (n,).
        groups: A number for what each image was taken of, (n,).
        neighbours: That vote; fewer where there are not so many.

    Raises:
        ValueError: If all images are of one group.
    """
    if bool((groups == groups[0]).all()):
        msg = f"neighbours come from other groups: {len(groups)} images are of one group"
        raise ValueError(msg)
    z = F.normalize(features.float() - features.float().mean(dim=0), dim=1)
    cosines = (z @ z.T).masked_fill(groups[:, None] == groups, -torch.inf)
    nearest, places = cosines.topk(min(neighbours, len(z) - 1), dim=1)
    votes = torch.zeros(len(z), int(labels.max()) + 1)
    votes.scatter_add_(1, labels[places], (nearest / TEMPERATURE).exp())
    return float((votes.argmax(dim=1) == labels).float().mean())
