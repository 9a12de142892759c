"""What contrastive losses share: projections, features in chunks, and who is no negative."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from medvit.learn.pretraining.kept_patches import draw_order, encode_kept
from medvit.models.vit import Vit

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def mean_features(
    backbone: nn.Module, images: Tensor, *, chunk: int | None = None, keep_share: float = 1.0
) -> Tensor:
    """Return the mean of the grid of features (n, d) of images (n, c, h, w).

    With a share below 1 a ViT in training sees so many of its patches, drawn anew for each
    image from the global random state, and takes that much less time (Li 2022, arXiv
    2212.00794).

    With a chunk, memory holds the activations of so many images only: the backbone runs
    again, chunk by chunk, when gradients are due (gradient caching, Gao 2021,
    arXiv 2101.06983). Gradients are those of the whole batch, but for batch norms inside the
    backbone, whose statistics are then those of a chunk.
    """

    def part(piece: Tensor) -> Tensor:
        if keep_share < 1 and isinstance(backbone, Vit) and backbone.training:
            return _kept_mean(backbone, piece, share=keep_share)
        features: Tensor = backbone(piece).mean(dim=(2, 3))
        return features

    if chunk is None or len(images) <= chunk or not torch.is_grad_enabled():
        return part(images)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return contextlib.nullcontext(), _still_statistics(backbone)

    parts = [
        checkpoint(part, piece, use_reentrant=False, context_fn=contexts)
        for piece in torch.split(images, chunk)
    ]
    return torch.cat(parts)


def _kept_mean(vit: Vit, images: Tensor, *, share: float) -> Tensor:
    side = images.shape[-1] // vit.settings.patch_px
    order = draw_order(len(images), side**2).to(images.device)
    kept = order[:, : max(1, round(side**2 * share))]
    return encode_kept(vit, images, kept, side=side).mean(dim=1)


@contextlib.contextmanager
def _still_statistics(net: nn.Module) -> Iterator[None]:
    """Let batch norms compute as they do, and not count the same images twice."""
    kept = [(norm, norm.momentum) for norm in net.modules() if isinstance(norm, NORMS)]
    for norm, _ in kept:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in kept:
            norm.momentum = momentum


def related(groups: Tensor) -> Tensor:
    """Return which pairs of different images are of one group, bool (n, n).

    Images of one group overlap, so that to push them apart would be wrong.

    Examples:
        >>> related(torch.tensor([7, 7, 3])).int().tolist()
        [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    """
    same = groups[:, None] == groups
    return same.fill_diagonal_(False)


def multi_layer(
    channels: int, *, hidden: int, out: int, layers: int, last_norm: bool
) -> nn.Sequential:
    """Return linear layers with batch norm and ReLU between; the last norm learns nothing."""
    parts: list[nn.Module] = []
    for number in range(layers):
        width = out if number == layers - 1 else hidden
        parts.append(nn.Linear(channels, width, bias=False))
        if number < layers - 1:
            parts += [nn.BatchNorm1d(width), nn.ReLU()]
        elif last_norm:
            parts.append(nn.BatchNorm1d(width, affine=False))
        channels = width
    return nn.Sequential(*parts)
