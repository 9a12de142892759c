"""Which places of an image speak for a class."""

from __future__ import annotations

import torch
from torch import Tensor

from medvit.models.heads.classify import DefectClassifier


class FlatGrids:
    """The grids of images without contrast, by size: made once for many images of a folder.

    Args:
        model: Its weights stay as they are for as long as this is used.
    """

    def __init__(self, model: DefectClassifier) -> None:
        self._model = model
        self._known: dict[torch.Size, Tensor] = {}

    def like(self, image: Tensor) -> Tensor:
        """Return the grid of a flat image of the size of another, (1, c, h, w)."""
        if image.shape not in self._known:
            self._known[image.shape] = evidence_grid(self._model, torch.zeros_like(image))
        return self._known[image.shape]


@torch.no_grad()
def evidence_grid(model: DefectClassifier, image: Tensor) -> Tensor:
    """Return the grid at which evidence is read, of an image (1, c, height, width)."""
    backbone = model.backbone
    return backbone.evidence_grid(backbone.embed(image))


def evidence_map(
    model: DefectClassifier,
    image: Tensor,
    label: int,
    *,
    steps: int | None = None,
    grid: Tensor | None = None,
    flats: FlatGrids | None = None,
) -> Tensor:
    """Return how much each place adds to a class, over an image without contrast.

    Integrated gradients (Sundararajan 2017, arXiv 1703.01365) at the deepest grid whose cells
    still know their own surroundings only (`Backbone2d.evidence_grid`). Applying the head to the
    last tokens of a Transformer instead fails: attention spreads the class over all of them,
    and the map falls on the background.

    Args:
        image: Shape (1, c, height, width), values 0..1.
        label: Index of the class.
        steps: Points of the midpoint rule between the flat image and this one; by default
            those of the backbone.
        grid: `evidence_grid` of the image, where it is known already.
        flats: Where grids of flat images are kept.

    Returns:
        Shape (h, w), on that grid. With enough steps the values add up to
        the margin of the class over the mean of the others, less that of a flat image.
    """
    own = evidence_grid(model, image) if grid is None else grid  # (1, c, h, w)
    flat = (flats or FlatGrids(model)).like(image)
    steps = steps or model.backbone.evidence_steps
    shares = (torch.arange(steps, device=image.device) + 0.5) / steps
    path = flat + shares.view(-1, 1, 1, 1) * (own - flat)  # (steps, c, h, w)
    with torch.enable_grad():
        path.requires_grad_()
        total = margin(model.judge_grid(path), label).sum()
        (slopes,) = torch.autograd.grad(total, path)
    return ((own - flat)[0] * slopes.mean(dim=0)).sum(dim=0)


def margin(logits: Tensor, label: int) -> Tensor:
    """Return the logit of a class less the mean of the others, shape (n,).

    Examples:
        >>> margin(torch.tensor([[3.0, 1.0, 2.0]]), 0)
        tensor([1.5000])
    """
    others = logits.sum(dim=1) - logits[:, label]
    return logits[:, label] - others / (logits.shape[1] - 1)
