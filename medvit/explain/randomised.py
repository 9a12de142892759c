"""The randomisation test: a map that does not change with the weights shows the image only."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from scipy import stats
from torch import Tensor, nn

from medvit.models.blocks import block_names
from medvit.models.heads.classify import DefectClassifier

MapOf = Callable[[DefectClassifier, Tensor, int], Tensor]


def agreement_after_randomising(
    method: MapOf,
    model: DefectClassifier,
    image: Tensor,
    label: int,
    *,
    generator: torch.Generator,
) -> list[float]:
    """Return how alike a map stays while a network is forgotten from the head on.

    Adebayo 2018, arXiv 1810.03292: a method that shows what was learned must give another
    map once the weights are noise.

    Args:
        method: Such as `grad_cam`.
        model: Stays as it is.
        image: Shape (1, c, height, width).
        label: Index of the class.
        generator: Draws the new weights, each tensor with the spread of the old one.

    Returns:
        Spearman's correlation with the first map: after the head, then after each block
        besides, the last one first. 0 where one of both maps is flat.
    """
    first = method(model, image, label).flatten()
    forgetful = copy.deepcopy(model)
    parts: list[nn.Module] = [forgetful.head]
    parts += [forgetful.backbone.get_submodule(n) for n in block_names(forgetful.backbone)[::-1]]
    alike = []
    for part in parts:
        _forget(part, generator)
        alike.append(_rank_correlation(first, method(forgetful, image, label).flatten()))
    return alike


def _forget(part: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for parameter in part.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            spread = parameter.std() if parameter.numel() > 1 else parameter.abs().mean()
            parameter.copy_(noise.to(parameter) * spread)


def _rank_correlation(first: Tensor, second: Tensor) -> float:
    if first.min() == first.max() or second.min() == second.max():
        return 0.0
    return float(stats.spearmanr(first.cpu().numpy(), second.cpu().numpy()).statistic)
