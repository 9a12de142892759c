"""Grad-CAM: features weighted by how much a class rises with them."""

from __future__ import annotations

import torch
from torch import Tensor

from medvit.explain.activations import activations_of, check_mode
from medvit.models.heads.classify import DefectClassifier


def grad_cam(model: DefectClassifier, image: Tensor, label: int) -> Tensor:
    """Return what speaks for a class, on the grid of the encoder.

    Selvaraju 2017, arXiv 1610.02391, equations 1 and 2: the gradient of the class's logit,
    averaged over the grid, weights the features; what is negative is left out.

    Args:
        model: In evaluation mode.
        image: Shape (1, c, height, width), values 0..1.
        label: Index of the class.

    Returns:
        Shape (h, w), at least 0.
    """
    check_mode(model)
    with torch.enable_grad():
        seen = activations_of(model, image.detach().requires_grad_())
        (slopes,) = torch.autograd.grad(seen.logits[0, label], seen.raw)
    features = seen.on_grid(seen.raw.detach())
    return weighted(features, seen.on_grid(slopes))


def weighted(features: Tensor, slopes: Tensor) -> Tensor:
    """Return the features (c, ...) under the means of their slopes, what is negative left out.

    Examples:
        >>> features = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])  # (2, 1, 2)
        >>> slopes = torch.tensor([[[1.0, 3.0]], [[-1.0, -1.0]]])
        >>> weighted(features, slopes)
        tensor([[2., 0.]])
    """
    weights = slopes.flatten(1).mean(dim=1)  # (c,)
    return torch.einsum("c,c...->...", weights, features).clamp_min(0)
