"""The loss of a detector of boxes: focal for classes, GIoU for boxes, and centre-ness."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medvit.learn.box_targets import GROUND, BoxTargets
from medvit.models.heads.boxes import BoxMaps

ALPHA, GAMMA = 0.25, 2.0


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the summed focal loss of logits under targets 0 or 1 of the same shape.

    Lin 2017, arXiv 1708.02002, equation 5, with alpha 0.25 and gamma 2.

    Examples:
        >>> round(float(focal_loss(torch.zeros(1), torch.ones(1))), 4)  # 0.25 * 0.5^2 * ln 2
        0.0433
    """
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p = logits.sigmoid()
    wrong = p * (1 - targets) + (1 - p) * targets
    weight = ALPHA * targets + (1 - ALPHA) * (1 - targets)
    return (weight * wrong**GAMMA * loss).sum()


def generalised_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the GIoU of boxes with boxes (..., 4): 1 where equal, towards -1 far apart.

    Rezatofighi 2019, arXiv 1902.09630. Boxes are x_min, y_min, x_max, y_max with an area.

    Examples:
        >>> left, right = torch.tensor([0.0, 0, 1, 1]), torch.tensor([2.0, 0, 3, 1])
        >>> round(float(generalised_iou(left, right)), 4)  # one third of their hull is empty
        -0.3333
    """
    inner = _area(
        torch.maximum(first[..., :2], second[..., :2]),
        torch.minimum(first[..., 2:], second[..., 2:]),
    )
    hull = _area(
        torch.minimum(first[..., :2], second[..., :2]),
        torch.maximum(first[..., 2:], second[..., 2:]),
    )
    areas = _area(first[..., :2], first[..., 2:]) + _area(second[..., :2], second[..., 2:])
    union = areas - inner
    return inner / union - (hull - union) / hull


def _area(low: Tensor, high: Tensor) -> Tensor:
    return (high - low).clamp(min=0).prod(dim=-1)


def box_loss(maps: BoxMaps, targets: BoxTargets) -> dict[str, Tensor]:
    """Return `label`, `box`, `centre` and their sum `loss`; finite also without any box.

    Classes and centre-ness are divided by the number of locations that answer for a box (at
    least 1), boxes are weighted by centre-ness.
    """
    is_box = targets.labels != GROUND
    count = is_box.sum().clamp(min=1)
    wanted = torch.zeros_like(maps.labels)
    wanted[is_box] = F.one_hot(targets.labels[is_box], maps.labels.shape[2]).to(wanted)
    label = focal_loss(maps.labels, wanted) / count
    weight = targets.centre[is_box]
    overlap = generalised_iou(maps.boxes()[is_box], targets.boxes[is_box])
    box = ((1 - overlap) * weight).sum() / weight.sum().clamp(min=1e-6)
    centre = (
        F.binary_cross_entropy_with_logits(maps.centre[is_box], weight, reduction="sum") / count
    )
    return {"label": label, "box": box, "centre": centre, "loss": label + box + centre}
