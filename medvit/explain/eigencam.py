"""Eigen-CAM: the direction in which the features of an image vary most; no class is asked."""

from __future__ import annotations

import torch
from torch import Tensor

from medvit.explain.activations import activations_of, check_mode
from medvit.models.heads.classify import DefectClassifier


def eigen_cam(model: DefectClassifier, image: Tensor, label: int = 0) -> Tensor:
    """Return where the features of an image stand out from each other.

    Muhammad 2020, arXiv 2008.00299. The map is the same for every class.

    Args:
        model: In evaluation mode.
        image: Shape (1, c, height, width), values 0..1.
        label: Not used; all methods are called alike.

    Returns:
        Shape (h, w), at least 0.
    """
    del label
    check_mode(model)
    with torch.no_grad():
        seen = activations_of(model, image)
    return first_component(seen.on_grid(seen.raw)).clamp_min(0)


def first_component(features: Tensor) -> Tensor:
    """Return features (c, h, w) along their first principal direction, shape (h, w).

    The sign of a singular vector is arbitrary: the larger side is made the positive one.

    Examples:
        >>> first_component(torch.tensor([[[-3.0, 1.0, 1.0, 1.0]]]))
        tensor([[ 3., -1., -1., -1.]])
    """
    table = features.flatten(1).T  # (h*w, c)
    centred = table - table.mean(dim=0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    along: Tensor = (centred @ directions[0]).view(features.shape[1:])
    return -along if -along.min() > along.max() else along
