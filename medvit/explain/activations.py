"""Features and logits of one image, in one graph, where maps of what a network saw are read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medvit.models.heads.classify import DefectClassifier
from medvit.models.vit import Vit


@dataclass(frozen=True, slots=True, eq=False)
class Activations:
    """What one layer gave for an image.

    Attributes:
        raw: As the layer gave it: tokens (1, t, c), extra ones first, or a map (1, c, h, w).
        sides: Cells of the grid, (h, w).
        logits: Shape (1, k); made from `raw`.
    """

    raw: Tensor
    sides: tuple[int, int]
    logits: Tensor

    def on_grid(self, values: Tensor) -> Tensor:
        """Return values that lie as `raw` does, as (c, h, w), without extra tokens."""
        if values.ndim == 4:
            return values[0]
        h, w = self.sides
        return values[0, -h * w :].T.reshape(-1, h, w)


def activations_of(model: DefectClassifier, image: Tensor) -> Activations:
    """Return what the layer before the last mixing of an encoder gave for an image.

    For a plain Transformer that is the first norm of its last block: what comes later is
    spread over all tokens, and with a class token would get no gradient. For all others it
    is the last map, which the head reads.

    Args:
        model: In evaluation mode.
        image: Shape (1, c, height, width), values 0..1.
    """
    patches = model.backbone.embed(image)
    if not isinstance(model.backbone, Vit):
        features = model.backbone.encode(patches)
        sides = (features.shape[2], features.shape[3])
        placed = features[:, : model.backbone.placed_channels]
        rest = features[:, model.backbone.placed_channels :]
        pooled = torch.cat([placed.mean(dim=(2, 3)), rest.mean(dim=(2, 3))], dim=1)
        return Activations(placed, sides, model.head(pooled))
    block = model.backbone.blocks[-1]
    kept: list[Tensor] = []
    handle = block.norm1.register_forward_hook(  # type: ignore[union-attr]
        lambda _layer, _given, tokens: kept.append(tokens)
    )
    try:
        logits = model.judge(patches)
    finally:
        handle.remove()
    return Activations(kept[-1], (patches.shape[2], patches.shape[3]), logits)


def check_mode(model: nn.Module) -> None:
    """Say so if a network would draw at random while it is explained.

    Raises:
        ValueError: If it is in training mode.
    """
    if model.training:
        msg = f"{type(model).__name__} is in training mode; call .eval() before explaining"
        raise ValueError(msg)
