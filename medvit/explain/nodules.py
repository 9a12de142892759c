"""Grad-CAM of one nodule: what in a box of a scan raises the detector's score at its centre."""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medvit.explain.activations import check_mode
from medvit.models.heads.centre import NoduleDetector

SIDE = 32
"""Voxels along the edge of the box that is explained; its middle is the nodule's centre."""

LEVEL = 0
"""The map of the encoder that is read: the finest, one cell for 2 voxels on a side."""

LEAST_REACH = 3
"""The peak of the score is sought this many voxels around the middle, or a radius."""


def nodule_score(model: NoduleDetector, boxes: Tensor, *, reach: int = LEAST_REACH) -> Tensor:
    """Return the largest score near the middle of boxes, (n,), 0 to 1, with its gradient.

    Args:
        model: In evaluation mode.
        boxes: Shape (n, 1, z, y, x), HU scaled to 0..1.
        reach: Voxels around the middle.
    """
    heat = model(boxes).heat[:, 0]  # (n, z, y, x)
    cells = heat.shape[-1]
    half = ceil(reach * cells / boxes.shape[-1])
    near = slice(max(0, cells // 2 - half), cells // 2 + half)
    return torch.sigmoid(heat[:, near, near, near].flatten(1).amax(dim=1))


def nodule_grad_cam(model: NoduleDetector, box: Tensor, *, reach: int = LEAST_REACH) -> Tensor:
    """Return what in a box raises the score in its middle, on its own voxels.

    The score stands at one place, so that a gradient averaged over the box would dilute it:
    features are multiplied by their own slopes (HiResCAM, Draelos 2020, arXiv 2011.08891).

    Args:
        model: In evaluation mode.
        box: Shape (1, 1, z, y, x), HU scaled to 0..1.
        reach: As in `nodule_score`.

    Returns:
        Shape (z, y, x), at least 0.
    """
    check_mode(model)
    kept: list[Tensor] = []
    handle = model.backbone.register_forward_hook(  # type: ignore[attr-defined]
        lambda _layer, _given, maps: kept.append(maps[LEVEL])
    )
    try:
        with torch.enable_grad():
            score = nodule_score(model, box.detach().requires_grad_(), reach=reach)
            (slopes,) = torch.autograd.grad(torch.logit(score, eps=1e-6).sum(), kept[-1])
    finally:
        handle.remove()
    cells = (kept[-1].detach() * slopes).sum(dim=1, keepdim=True).clamp_min(0)  # (1, 1, ...)
    full = F.interpolate(cells, size=box.shape[2:], mode="trilinear", align_corners=False)
    return full[0, 0]
