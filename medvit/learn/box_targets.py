"""Which location of a detector answers for which box.

FCOS (Tian 2019, arXiv 1904.01355) with centre sampling. Letters: n images, p locations,
k boxes of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

RADIUS_CELLS = 1.5
"""A location answers for a box when it is this near to the middle of the box, in strides."""

REACH_CELLS = 8
"""A level answers for boxes whose furthest side is up to this many strides away."""

LEAST_REACH_PX = 0.5
GROUND = -1


@dataclass(frozen=True, slots=True)
class BoxTargets:
    """What the locations of a batch should say.

    Attributes:
        labels: Class index (n, p), `GROUND` where there is nothing.
        boxes: x_min, y_min, x_max, y_max in pixels (n, p, 4); of no meaning on the ground.
        centre: Centre-ness (n, p), 1 in the middle of a box; 0 on the ground.
    """

    labels: Tensor
    boxes: Tensor
    centre: Tensor


def box_targets(
    boxes: Sequence[Tensor], labels: Sequence[Tensor], *, points: Tensor, strides: Tensor
) -> BoxTargets:
    """Assign the boxes of a batch to locations.

    A location answers for the smallest of the boxes that it lies in, near their middle, and
    whose furthest side suits its level. A box that has no location then, as fine scratches
    have none, takes those of all levels; one that still has none is learnt at the nearest
    location of the finest level, enlarged to hold it.

    Args:
        boxes: Of each image, (k, 4) in pixels.
        labels: Class indices of each image (k,).
        points: x and y (p, 2).
        strides: Of the level of each location (p,).
    """
    found = [
        _of_image(own.to(points), their.to(points.device), points=points, strides=strides)
        for own, their in zip(boxes, labels, strict=True)
    ]
    return BoxTargets(*(torch.stack(parts) for parts in zip(*found, strict=True)))


def _of_image(
    boxes: Tensor, labels: Tensor, *, points: Tensor, strides: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    if not len(boxes):
        ground = torch.full((len(points),), GROUND, device=points.device)
        return ground, points.new_zeros(len(points), 4), points.new_zeros(len(points))
    answers = answering(boxes, points=points, strides=strides)  # (p, k)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    smallest, index = torch.where(answers, area, torch.inf).min(dim=1)  # (p,)
    is_box = smallest.isfinite()
    chosen = _holding(boxes[index], points)
    centre = centreness(chosen, points)
    return (
        torch.where(is_box, labels[index], GROUND),
        chosen,
        torch.where(is_box, centre, 0.0),
    )


def answering(boxes: Tensor, *, points: Tensor, strides: Tensor) -> Tensor:
    """Return which location may answer for which box, (p, k); each box has at least one."""
    reach = torch.cat([points[:, None] - boxes[:, :2], boxes[:, 2:] - points[:, None]], dim=2)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    away = (points[:, None] - middle).abs().amax(dim=2)  # (p, k)
    is_inside = reach.amin(dim=2) > 0
    is_near = is_inside & (away < RADIUS_CELLS * strides[:, None])
    furthest = reach.amax(dim=2)
    least = torch.where(strides == strides.min(), 0.0, strides * REACH_CELLS / 2)
    most = torch.where(strides == strides.max(), torch.inf, strides * REACH_CELLS)
    suits = is_near & (furthest >= least[:, None]) & (furthest < most[:, None])
    suits |= is_near & ~suits.any(dim=0)
    finest = torch.where((strides == strides.min())[:, None], away, torch.inf)
    nearest = finest == finest.amin(dim=0)
    return suits | (nearest & ~suits.any(dim=0))


def _holding(boxes: Tensor, points: Tensor) -> Tensor:
    """Return boxes (p, 4) enlarged, where need be, to hold their points (p, 2)."""
    low = torch.minimum(boxes[:, :2], points - LEAST_REACH_PX)
    high = torch.maximum(boxes[:, 2:], points + LEAST_REACH_PX)
    return torch.cat([low, high], dim=1)


def centreness(boxes: Tensor, points: Tensor) -> Tensor:
    """Return how near to the middle of their boxes (p, 4) points (p, 2) are, 0..1.

    Examples:
        >>> box = torch.tensor([[0.0, 0.0, 8.0, 8.0]])
        >>> centreness(box, torch.tensor([[2.0, 4.0]])).item() ** 2
        0.3333333...
    """
    near, far = (points - boxes[:, :2]), (boxes[:, 2:] - points)
    ratio = torch.minimum(near, far) / torch.maximum(near, far)
    return ratio.clamp(min=0).prod(dim=1).sqrt()
