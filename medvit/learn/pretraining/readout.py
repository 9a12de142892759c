"""Texture as features: mean and spread of all maps of a backbone, not of the last one alone."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medvit.learn.pretraining.watch import BATCH, as_batch
from medvit.models.backbone import Backbone2d

MIRRORS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))


@torch.no_grad()
def texture_features(backbone: Backbone2d, images: NDArray[np.uint8], *, side_px: int) -> Tensor:
    """Return mean and sd over places of every channel of every map, (n, 2 * sum of widths).

    Mean over the image and its mirror images, in evaluation mode.

    Args:
        backbone: Encoder of images.
        images: Grey (n, h, w), uint8.
        side_px: Side at which they are looked at.
    """
    was_training = backbone.training
    backbone.eval()
    device = next(backbone.parameters()).device
    parts = []
    for start in range(0, len(images), BATCH):
        batch = as_batch(images[start : start + BATCH], side_px=side_px).to(device)
        seen = [_moments(backbone.maps(batch.flip(axes))) for axes in MIRRORS]
        parts.append(torch.stack(seen).mean(dim=0).float().cpu())
    backbone.train(was_training)
    return torch.cat(parts)


def _moments(maps: list[Tensor]) -> Tensor:
    means = [grid.mean(dim=(2, 3)) for grid in maps]
    spreads = [grid.std(dim=(2, 3), correction=0) for grid in maps]
    return torch.cat([*means, *spreads], dim=1)
