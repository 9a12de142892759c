"""Patches of a ViT that are left out: drawn, greyed before the stem, and never computed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medvit.models.vit import Vit


def draw_order(count: int, patches: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Return an order of the patches of each image (n, p): the first of them are kept."""
    return torch.rand(count, patches, generator=generator).argsort(dim=1)


def take(tokens: Tensor, places: Tensor) -> Tensor:
    """Return tokens (n, k, c) at places (n, k) of (n, p, c)."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[2]))


def patchify(images: Tensor, *, patch_px: int) -> Tensor:
    """Return the pixels of each patch (n, p, patch_px ** 2) of images (n, 1, h, w).

    Examples:
        >>> patchify(torch.arange(16.0).view(1, 1, 4, 4), patch_px=2)[0, 1].tolist()
        [2.0, 3.0, 6.0, 7.0]
    """
    return F.unfold(images, patch_px, stride=patch_px).transpose(1, 2)


def unpatchify(patches: Tensor, *, patch_px: int, side_px: int) -> Tensor:
    """Return images (n, 1, side, side) of their patches; undoes `patchify`."""
    return F.fold(patches.transpose(1, 2), side_px, patch_px, stride=patch_px)


def encode_kept(vit: Vit, images: Tensor, kept: Tensor, *, side: int) -> Tensor:
    """Return the tokens (n, k, c) that a ViT makes of the kept patches alone.

    Args:
        vit: The encoder.
        images: (n, 1, s, s).
        kept: Places of the kept patches on the grid, (n, k).
        side: Patches on a side of the grid.
    """
    n, k = kept.shape
    patches = vit.embed(_greyed(images, kept, patch_px=vit.settings.patch_px))  # (n, c, g, g)
    tokens = take(patches.flatten(2).transpose(1, 2), kept)
    if vit.registers is not None:
        tokens = torch.cat([vit.registers.expand(n, -1, -1), tokens], dim=1)
    for index, block in enumerate(vit.blocks):
        tokens = block(tokens)
        if index == 0:
            ahead, placed = tokens[:, :-k], tokens[:, -k:]
            on_grid = placed.new_zeros(n, side * side, placed.shape[2])
            on_grid = on_grid.scatter(1, kept[..., None].expand_as(placed), placed)
            placed = take(vit.position(on_grid, grid=(side, side)), kept)
            tokens = torch.cat([ahead, placed], dim=1)
    out: Tensor = vit.norm(tokens[:, -k:])
    return out


def _greyed(images: Tensor, kept: Tensor, *, patch_px: int) -> Tensor:
    """Return images whose removed patches have the mean grey of the kept ones."""
    patches = patchify(images, patch_px=patch_px)
    seen = torch.zeros(patches.shape[:2], dtype=torch.bool, device=images.device)
    seen.scatter_(1, kept, True)
    mean = take(patches, kept).mean(dim=(1, 2))
    greyed = torch.where(seen[..., None], patches, mean[:, None, None])
    return unpatchify(greyed, patch_px=patch_px, side_px=images.shape[-1])
