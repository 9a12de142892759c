"""Where a backbone looks: attention of a ViT's last block, or the strength of its features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.models.backbone import Backbone2d
from medvit.models.vit import Attention, Vit

GAP_PX = 2


@torch.no_grad()
def attention_maps(backbone: Backbone2d, images: Tensor) -> Tensor:
    """Return maps (n, h, w) in 0..1, each stretched to its own range, of images (n, c, H, W).

    Of a ViT: what each token receives from all others in the last block, mean over heads.
    Of any other backbone: the length of the features of each place. Evaluation mode.
    """
    was_training = backbone.training
    backbone.eval()
    maps = _received(backbone, images) if isinstance(backbone, Vit) else _lengths(backbone, images)
    backbone.train(was_training)
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp(min=1e-9)


def _lengths(backbone: nn.Module, images: Tensor) -> Tensor:
    grid = backbone(images).float()
    rest = grid - grid.mean(dim=(2, 3), keepdim=True)
    lengths: Tensor = torch.linalg.vector_norm(rest, dim=1)
    return lengths


def _received(vit: Vit, images: Tensor) -> Tensor:
    seen: list[Tensor] = []
    attention = vit.blocks[-1].get_submodule("attn")
    hook = attention.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        h, w = vit(images).shape[2:]
    finally:
        hook.remove()
    shares = attention_shares(attention, seen[0])  # type: ignore[arg-type]
    received: Tensor = shares.mean(dim=(1, 2))[:, -h * w :]  # (n, t), the grid comes last
    return received.reshape(-1, h, w)


def attention_shares(attention: Attention, x: Tensor) -> Tensor:
    """Return the softmax that a block's attention takes, (n, heads, t, t), of tokens (n, t, c)."""
    n, t, c = x.shape
    width = c // attention.num_heads
    qkv = attention.qkv(x).view(n, t, 3, attention.num_heads, width)
    q, k, _ = qkv.permute(2, 0, 3, 1, 4)
    shares: Tensor = (q @ k.mT * width**-0.5).float().softmax(dim=-1)
    return shares


def attention_picture(backbone: Backbone2d, images: Tensor) -> Tensor:
    """Return images above their maps, (1, rows, columns) in 0..1; of grey images (n, 1, H, W)."""
    maps = attention_maps(backbone, images)[:, None]
    large = F.interpolate(maps, size=images.shape[2:], mode="bilinear", align_corners=False)
    rows = [_row(images), _row(large)]
    return torch.cat(rows, dim=1)


def _row(images: Tensor) -> Tensor:
    framed = F.pad(images.cpu(), (GAP_PX,) * 4, value=1.0)
    return torch.cat(list(framed), dim=2)
