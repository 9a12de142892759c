"""Learned tokens in front of those of an image, for visual prompt tuning."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medvit.models.backbone import Backbone2d


class Prompts(nn.Module):
    """Tokens that are learned while a plain Transformer stays as it is.

    Jia 2022, arXiv 2203.12119: shallow prompts enter before the first block; deep ones are
    put anew before every block, in place of what the last block made of them.

    Args:
        dim: Width of a token.
        count: Prompts, at least 1.
        blocks: 1 for shallow prompts, the depth of the net for deep ones.
        patch_px: Pixels on a side of a patch; with `dim` it sets the spread of the start,
            uniform within sqrt(6 / (3 patch^2 + dim)).
    """

    def __init__(self, dim: int, *, count: int, blocks: int, patch_px: int) -> None:
        super().__init__()
        if count < 1 or blocks < 1:
            msg = f"prompt tuning needs at least 1 prompt and 1 block, got {count} and {blocks}"
            raise ValueError(msg)
        self.tokens = nn.Parameter(torch.empty(blocks, count, dim))
        reach = (6.0 / (3 * patch_px**2 + dim)) ** 0.5
        nn.init.uniform_(self.tokens, -reach, reach)

    def forward(self, x: Tensor, *, block: int) -> Tensor:
        """Return the tokens (n, t, c) that enter a block, prompts first."""
        blocks, count, _ = self.tokens.shape
        if block >= blocks:
            return x
        rest = x[:, count:] if block else x
        return torch.cat([self.tokens[block].expand(len(x), -1, -1), rest], dim=1)


PLACELESS = "no place for prompts"


def insert_prompts(backbone: Backbone2d, *, count: int, deep: bool) -> None:
    """Put prompts into a plain Transformer, in place.

    Raises:
        ValueError: If the network has no place for them, or has some already.
    """
    blocks, present = getattr(backbone, "blocks", None), getattr(backbone, "prompts", PLACELESS)
    if not isinstance(blocks, nn.ModuleList) or present == PLACELESS:
        msg = (
            f"prompt tuning needs a plain Transformer of medvit, got {type(backbone).__name__}; "
            "use vit_tiny_stem, vit_tiny, vit_small or vit_base, or tuning.method=adapter"
        )
        raise ValueError(msg)
    if present is not None:
        msg = "the backbone has prompts already, and they are not put in twice"
        raise ValueError(msg)
    backbone.prompts = Prompts(
        backbone.widths[-1],
        count=count,
        blocks=len(blocks) if deep else 1,
        patch_px=backbone.strides_px[0],
    )
