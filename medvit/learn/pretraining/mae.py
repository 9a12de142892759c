"""Masked autoencoder: a ViT sees a quarter of the patches, a small decoder paints the rest.

He 2021, arXiv 2111.06377. The removed patches are grey before the stem sees the image, so
that overlapping convolutions learn nothing of them; positions are known to the decoder, and
to the encoder from the kept neighbours, as ever.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.learn.pretraining.kept_patches import draw_order, encode_kept, patchify, take
from medvit.learn.pretraining.surface_batches import SurfaceBatch
from medvit.models.vit import Block, Vit

VARIANCE_FLOOR = 1e-6


@dataclass(frozen=True, slots=True)
class MaeSettings:
    """How much is hidden, and the shape of the decoder.

    Attributes:
        mask_share: Part of the patches that is removed, of each image alike.
        decoder_dim: Width of its tokens, a multiple of 4.
        decoder_depth: Its blocks.
        decoder_heads: Its attention heads.
    """

    mask_share: float = 0.75
    decoder_dim: int = 96
    decoder_depth: int = 2
    decoder_heads: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.mask_share < 1 or self.decoder_dim % 4:
            msg = (
                "mask_share must lie between 0 and 1 and decoder_dim be a multiple of 4, "
                f"got {self.mask_share} and {self.decoder_dim}"
            )
            raise ValueError(msg)


def normalised(patches: Tensor) -> Tensor:
    """Return patches (n, p, k), each less its mean and by its sd."""
    variance, mean = torch.var_mean(patches, dim=2, keepdim=True, correction=0)
    return (patches - mean) / (variance + VARIANCE_FLOOR).sqrt()


def sine_positions(side: int, dim: int) -> Tensor:
    """Return fixed positions (side * side, dim): sines and cosines of row and column."""
    rates = torch.exp(-math.log(10_000) * torch.arange(dim // 4) / (dim // 4))
    angles = torch.arange(side)[:, None] * rates  # (side, dim/4)
    one = torch.cat([angles.sin(), angles.cos()], dim=1)  # (side, dim/2)
    rows = one[:, None].expand(side, side, -1)
    columns = one[None].expand(side, side, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


class MaeNet(nn.Module):
    """A ViT and the decoder, which is thrown away after pretraining.

    Args:
        backbone: Encoder of images.
        side_px: Side of a view; a multiple of the ViT's patch.
        settings: Of mask and decoder.

    Raises:
        ValueError: If the backbone is no ViT, or its patches do not fill a view.
    """

    positions: Tensor

    def __init__(self, backbone: nn.Module, *, side_px: int, settings: MaeSettings) -> None:
        super().__init__()
        if not isinstance(backbone, Vit):
            msg = f"a masked autoencoder drops tokens, which only a Vit can: {_name(backbone)}"
            raise ValueError(msg)
        self.patch_px = backbone.settings.patch_px
        if side_px % self.patch_px:
            msg = f"patches of {self.patch_px} px do not fill a view of {side_px} px"
            raise ValueError(msg)
        self.side = side_px // self.patch_px
        self.kept = max(1, round(self.side**2 * (1 - settings.mask_share)))
        dim, heads = settings.decoder_dim, settings.decoder_heads
        self.backbone = backbone
        self.narrow = nn.Linear(backbone.out_channels, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        nn.init.normal_(self.mask_token, std=0.02)
        self.blocks = nn.ModuleList(
            Block(dim, num_heads=heads, mlp_ratio=4, drop_path=0.0)
            for _ in range(settings.decoder_depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.paint = nn.Linear(dim, self.patch_px**2)
        self.register_buffer("positions", sine_positions(self.side, dim), persistent=False)

    def forward(self, images: Tensor, order: Tensor) -> Tensor:
        """Return painted patches (n, p, patch_px ** 2), normalised, of images (n, 1, s, s).

        Args:
            images: Values 0..1.
            order: Of the patches, (n, p); the first `kept` are seen.
        """
        seen = encode_kept(self.backbone, images, order[:, : self.kept], side=self.side)
        tokens = self.narrow(seen)  # (n, k, dim)
        hidden = order.shape[1] - self.kept
        masks = self.mask_token.to(tokens.dtype).expand(len(tokens), hidden, -1)
        restored = take(torch.cat([tokens, masks], dim=1), order.argsort(dim=1))
        x = restored + self.positions.to(tokens.dtype)
        for block in self.blocks:
            x = block(x)
        painted: Tensor = self.paint(self.norm(x))
        return painted


class MaeLoss(nn.Module):
    """Mean square error of the painted patches that were removed.

    Args:
        net: What is trained.
    """

    def __init__(self, net: MaeNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: SurfaceBatch) -> Tensor:
        """Return the loss of one view of each image.

        The mask is drawn from the global random state, which the training loop seeds at
        each step.
        """
        images = batch.views.flatten(0, 1)
        order = draw_order(len(images), self.net.side**2).to(images.device)
        return self.of(images, order)

    def of(self, images: Tensor, order: Tensor, *, target: Tensor | None = None) -> Tensor:
        """Return the loss under a given order; the target is the image itself if not given."""
        painted = self.net(images, order)
        truth = normalised(
            patchify(images if target is None else target, patch_px=self.net.patch_px)
        )
        removed = order[:, self.net.kept :]
        return F.mse_loss(take(painted.float(), removed), take(truth, removed))

    def embed(self, images: Tensor) -> Tensor:
        """Return the mean feature of whole images, (n, d)."""
        features: Tensor = self.net.backbone(images).mean(dim=(2, 3))
        return features


def _name(module: nn.Module) -> str:
    return type(module).__name__
