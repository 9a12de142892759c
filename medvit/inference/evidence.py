"""Which patches of an image speak for a class."""

from __future__ import annotations

import torch
from torch import Tensor

from medvit.models.heads.classify import DefectClassifier

STEPS = 4


def evidence_map(
    model: DefectClassifier, image: Tensor, label: int, *, steps: int = STEPS
) -> Tensor:
    """Return how much each patch adds to a class, over an image without contrast.

    Integrated gradients (Sundararajan 2017, arXiv 1703.01365) at the output of the
    stem, where a patch still knows its own surroundings only. Applying the head to the
    last tokens instead fails here: attention spreads the class over all of them, and
    the map falls on the background.

    Args:
        image: Shape (1, 1, height, width), values 0..1.
        label: Index of the class.
        steps: Points of the midpoint rule between the flat image and this one.

    Returns:
        Shape (h, w), on the grid of patches. With enough steps the values add up to
        the margin of the class over the mean of the others, less that of a flat image.
    """
    with torch.no_grad():
        patches = model.backbone.embed(image)  # (1, c, h, w)
        flat = model.backbone.embed(torch.zeros_like(image))
    shares = (torch.arange(steps, device=image.device) + 0.5) / steps
    path = flat + shares.view(-1, 1, 1, 1) * (patches - flat)  # (steps, c, h, w)
    with torch.enable_grad():
        path.requires_grad_()
        total = margin(model.judge(path), label).sum()
        (slopes,) = torch.autograd.grad(total, path)
    return ((patches - flat)[0] * slopes.mean(dim=0)).sum(dim=0)


def margin(logits: Tensor, label: int) -> Tensor:
    """Return the logit of a class less the mean of the others, shape (n,).

    Examples:
        >>> margin(torch.tensor([[3.0, 1.0, 2.0]]), 0)
        tensor([1.5000])
    """
    others = logits.sum(dim=1) - logits[:, label]
    return logits[:, label] - others / (logits.shape[1] - 1)
