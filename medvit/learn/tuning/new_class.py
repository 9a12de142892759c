"""A new class from a few images, while the logits of old classes stay the same to the bit.

One row is appended, as in weight imprinting (Qi 2018, arXiv 1712.07136). Old classes can still
lose images to the newcomer: its bias is set so that few held-out old images move to it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.models.heads.prototype import GrownHead

SCALES = (2.5, 5.0, 10.0, 20.0, 40.0)
LEAST_HELD_OUT = 20


@torch.no_grad()
def add_class(
    base: nn.Module, support: Tensor, held_out: Tensor, *, most_moved: float = 0.01
) -> GrownHead:
    """Return a head with one more class.

    The new logit is `s * cos(x - c, p) + b`: `c` the mean of old features, `p` the
    prototype of the support. For each scale `s` the bias `b` is the largest that moves at
    most `most_moved` of the held-out images. That scale is kept at which most of the
    support, each image left out of the prototype once, would be told as new; ties go to
    the widest margin.

    Args:
        base: The old head, which is kept as it is.
        support: Features of the new class, shape (n, d).
        held_out: Features of old classes, shape (m, d).
        most_moved: Share of the held-out images that may move to the new class.

    Raises:
        ValueError: If there is no support, or too few held-out images to set the bias.
    """
    if not len(support) or len(held_out) < LEAST_HELD_OUT:
        msg = (
            f"a new class needs an image, and {LEAST_HELD_OUT} held-out images of old classes to "
            f"set its bias, got {len(support)} and {len(held_out)}"
        )
        raise ValueError(msg)
    old = base(held_out)
    head = GrownHead(base, support.shape[1], old=old.shape[1], added=1)
    head.centre.copy_(held_out.mean(0))
    inner = F.normalize(support.float() - head.centre, dim=1)
    head.weight.data = F.normalize(inner.mean(0, keepdim=True), dim=1)
    rival_old, rival_new = old.max(1).values, base(support).max(1).values
    cosines = F.normalize(held_out.float() - head.centre, dim=1) @ head.weight[0]
    own = _left_out_cosines(inner)

    def bias_at(scale: float) -> float:
        room = (rival_old - scale * cosines).sort().values  # a bias above this moves the image
        return float(room[int(most_moved * len(room))]) - 1e-6

    def gain(scale: float) -> tuple[int, float]:
        margins = (scale * own + bias_at(scale) - rival_new) / scale
        return int((margins > 0).sum()), float(margins.mean())

    best = max(SCALES, key=gain)
    head.scale.data.fill_(best)
    head.bias.data.fill_(bias_at(best))
    return head


def _left_out_cosines(directions: Tensor) -> Tensor:
    """Return the cosine of each image with the prototype of the others; 1 for a lone image."""
    if len(directions) == 1:
        return torch.ones(1)
    others = directions.sum(0) - directions
    return (F.normalize(others, dim=1) * directions).sum(1)
