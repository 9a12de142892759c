"""Attention rollout: how much of each patch reaches the features that the head reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medvit.errors import ModelError
from medvit.explain.activations import check_mode
from medvit.models.backbone import Backbone2d
from medvit.models.heads.classify import DefectClassifier
from medvit.models.vit import Attention


def attention_rollout(model: DefectClassifier, image: Tensor, label: int = 0) -> Tensor:
    """Return how much of each patch reaches the mean that the head reads.

    Abnar 2020, arXiv 2005.00928. The map is the same for every class. Convolutions between
    the blocks are left out of the account; of a hybrid only the attending branch is seen.

    Args:
        model: In evaluation mode; its blocks attend among all tokens.
        image: Shape (1, c, height, width), values 0..1.
        label: Not used; all methods are called alike.

    Returns:
        Shape (h, w), positive; sums to 1 less what registers and prompts hold.

    Raises:
        ModelError: If the encoder has no attention among all tokens.
    """
    del label
    check_mode(model)
    tables, (h, w) = attentions_of(model.backbone, image)
    through = roll(tables)
    cells = h * w
    return through[-cells:, -cells:].mean(dim=0).view(h, w)


def attentions_of(backbone: Backbone2d, image: Tensor) -> tuple[list[Tensor], tuple[int, int]]:
    """Return the attention (t, t) of each block, mean of its heads, and the sides of the grid.

    Fused attention gives no weights: they are computed anew from what enters each layer.

    Raises:
        ModelError: As `attention_rollout`.
    """
    layers = [layer for layer in backbone.modules() if isinstance(layer, Attention)]
    if not layers:
        msg = (
            f"rollout follows attention among all tokens, and {type(backbone).__name__} has none "
            "that medvit can read"
        )
        raise ModelError(msg, hint="use --method gradcam or eigencam, which suit every encoder")
    tables: list[Tensor] = []
    handles = [
        layer.register_forward_hook(lambda own, given, _out: tables.append(weights(own, given[0])))
        for layer in layers
    ]
    try:
        with torch.no_grad():
            grid = backbone(image)
    finally:
        for handle in handles:
            handle.remove()
    return tables, (grid.shape[2], grid.shape[3])


def weights(layer: Attention, tokens: Tensor) -> Tensor:
    """Return how tokens (1, t, c) attend to each other: (t, t), rows sum to 1."""
    _, t, c = tokens.shape
    queries, keys, _ = layer.qkv(tokens)[0].view(t, 3, layer.num_heads, -1).unbind(dim=1)
    scale = (c // layer.num_heads) ** -0.5
    total = tokens.new_zeros(t, t)
    for head in range(layer.num_heads):  # one at a time: a table of 4096 tokens has 67 MB
        total += (queries[:, head] @ keys[:, head].T * scale).softmax(dim=1)
    return total / layer.num_heads


def roll(tables: Sequence[Tensor]) -> Tensor:
    """Return how much of each token reaches each other one through all blocks, (t, t).

    A block passes half of a token on as it is, beside its attention.

    Args:
        tables: Attention (t, t) of each block, the first one first; rows need not sum to 1.

    Examples:
        >>> roll([torch.tensor([[0.0, 1.0], [0.5, 0.5]])])
        tensor([[0.5000, 0.5000],
                [0.2500, 0.7500]])
    """
    through = torch.eye(len(tables[0]), dtype=tables[0].dtype, device=tables[0].device)
    for table in tables:
        step = 0.5 * table + 0.5 * torch.eye(len(table), dtype=table.dtype, device=table.device)
        through = step / step.sum(dim=1, keepdim=True) @ through
    return through
