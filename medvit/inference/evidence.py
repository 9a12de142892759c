"""Which places of an image speak for a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a classifier says of one image, and what it takes to ask why.

    Attributes:
        grid: `evidence_grid` of the image, (1, c, h, w).
        features: What the head reads, (1, d).
        logits: Of all classes, (1, k); they know how they came from `grid` where evidence is
            read at the image itself.
    """

    grid: Tensor
    features: Tensor
    logits: Tensor


@torch.no_grad()
def evidence_grid(model: DefectClassifier, image: Tensor) -> Tensor:
    """Return the grid at which evidence is read, of an image (1, c, height, width)."""
    backbone = model.backbone
    return backbone.evidence_grid(backbone.embed(image))


def ask(model: DefectClassifier, image: Tensor) -> Answer:
    """Return what a classifier says of an image (1, c, height, width), values 0..1."""
    traced = 1.0 in model.backbone.evidence_shares
    grid = evidence_grid(model, image).requires_grad_(traced)
    with torch.set_grad_enabled(traced):
        features = model.backbone.encode_grid(grid).mean(dim=(2, 3))
        return Answer(grid, features, model.head(features))


def evidence_map(
    model: DefectClassifier,
    image: Tensor,
    label: int,
    *,
    shares: Sequence[float] | None = None,
    answer: Answer | None = None,
    flats: FlatGrids | None = None,
) -> Tensor:
    """Return how much each place adds to a class, over an image without contrast.

    Integrated gradients (Sundararajan 2017, arXiv 1703.01365) at the deepest grid whose cells
    still know their own surroundings only (`Backbone2d.evidence_grid`); where slopes are read
    at the image alone, gradient times difference (Shrikumar 2017, arXiv 1704.02685). Applying
    the head to the last tokens of a Transformer instead fails: attention spreads the class over
    all of them, and the map falls on the background.

    Args:
        image: Shape (1, c, height, width), values 0..1.
        label: Index of the class.
        shares: Where on the way from the flat image (0) to this one (1) slopes are read; by
            default as the backbone says.
        answer: To `ask` of the same image, where it is known already.
        flats: Where grids of flat images are kept.

    Returns:
        Shape (h, w), on that grid. With many shares, evenly spread, the values add up to
        the margin of the class over the mean of the others, less that of a flat image.
    """
    own = answer or ask(model, image)
    flat = (flats or FlatGrids(model)).like(image)
    if shares is None:
        shares = model.backbone.evidence_shares
    if tuple(shares) == (1.0,) and own.logits.requires_grad:
        slopes = _slopes(own.logits, own.grid, label)
    else:
        steps = torch.tensor(shares, device=image.device).view(-1, 1, 1, 1)
        path = (flat + steps * (own.grid.detach() - flat)).requires_grad_()  # (steps, c, h, w)
        with torch.enable_grad():
            slopes = _slopes(model.judge_grid(path), path, label)
    return ((own.grid.detach() - flat)[0] * slopes.mean(dim=0)).sum(dim=0)


def margin(logits: Tensor, label: int) -> Tensor:
    """Return the logit of a class less the mean of the others, shape (n,).

    Examples:
        >>> margin(torch.tensor([[3.0, 1.0, 2.0]]), 0)
        tensor([1.5000])
    """
    others = logits.sum(dim=1) - logits[:, label]
    return logits[:, label] - others / (logits.shape[1] - 1)


def _slopes(logits: Tensor, grid: Tensor, label: int) -> Tensor:
    (slopes,) = torch.autograd.grad(margin(logits, label).sum(), grid, retain_graph=True)
    return slopes
