"""A cache of labelled features beside a head, its weight chosen on held-out images.

Tip-Adapter, Zhang 2021, arXiv 2111.03930.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.learn.tuning.prototype import check_support
from medvit.models.heads.prototype import CacheHead

ALPHAS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
BETAS = (1.0, 2.0, 5.5, 10.0, 20.0)


def cache_head(
    base: nn.Module, features: Tensor, labels: Tensor, *, names: Sequence[str]
) -> CacheHead:
    """Return a head with the support as its cache; each class weighs the same.

    Args:
        base: Head of the same classes.
        features: Of the support, shape (m, d).
        labels: Class indices (m,).
        names: Of the classes.

    Raises:
        ValueError: If a class has no image.
    """
    check_support(labels, names=names)
    head = CacheHead(base, features.shape[1], classes=len(names), keys=len(features))
    head.weight.data = F.normalize(features.float(), dim=1)
    shares = F.one_hot(labels, len(names)).float()
    head.values.copy_(shares / shares.sum(0))
    return head


@torch.no_grad()
def choose_cache(head: CacheHead, features: Tensor, labels: Tensor) -> float:
    """Set weight and sharpness of the cache to those of the least loss on held-out images.

    Ties go to the smaller weight. Without held-out images the head stays as it is.

    Returns:
        The loss, NaN without images.
    """
    best = (float("inf"), 0.0, 0.0)
    for alpha, beta in product(ALPHAS, BETAS):
        if not len(features):
            return float("nan")
        head.alpha.fill_(alpha)
        head.beta.fill_(beta)
        best = min(best, (float(F.cross_entropy(head(features), labels)), alpha, beta))
    head.alpha.fill_(best[1])
    head.beta.fill_(best[2])
    return best[0]
