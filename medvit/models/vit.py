"""A small Vision Transformer with a convolutional stem, for grey surface images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

STEM_STRIDE_PX = 8


@dataclass(frozen=True, slots=True)
class VitSettings:
    """The shape of a `Vit`.

    Attributes:
        embed_dim: Width of a token; divisible by `num_heads`.
        depth: Number of Transformer blocks.
        num_heads: Attention heads in each block.
        mlp_ratio: Hidden width of the MLP over `embed_dim`.
        stem_channels: Widths of the two strided convolutions of the stem.
        drop_path: Probability that the last block is skipped in training.
        contrast_std: Grey values (0..1) are divided by this after centring.
    """

    embed_dim: int = 128
    depth: int = 6
    num_heads: int = 4
    mlp_ratio: float = 4.0
    stem_channels: tuple[int, int] = (32, 96)
    drop_path: float = 0.1
    contrast_std: float = 0.06

    def __post_init__(self) -> None:
        if self.embed_dim % self.num_heads:
            msg = f"embed_dim must be divisible by num_heads: {self.embed_dim} by {self.num_heads}"
            raise ValueError(msg)
        if self.depth < 1 or not 0.0 <= self.drop_path <= 1.0 or self.contrast_std <= 0:
            msg = (
                "depth must be at least 1, drop_path in 0..1 and contrast_std positive, "
                f"got {self.depth}, {self.drop_path} and {self.contrast_std}"
            )
            raise ValueError(msg)


class DropPath(nn.Module):
    """Skip a residual branch for whole samples in training.

    Huang 2016, arXiv 1603.09382; kept branches are divided by the keep
    probability, so that the mean over draws equals the plain branch.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with some samples of the batch set to zero."""
        if not self.training or self.rate == 0.0:
            return x
        if self.rate >= 1.0:
            return torch.zeros_like(x)
        keep = 1.0 - self.rate
        mask = x.new_empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(keep)
        return x * mask / keep


class Attention(nn.Module):
    """Multi-head attention among all tokens of an image."""

    def __init__(self, dim: int, *, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return attended tokens, shape (n, t, c) as the input."""
        n, t, c = x.shape
        qkv = self.qkv(x).view(n, t, 3, self.num_heads, c // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (n, h, t, c/h)
        out = F.scaled_dot_product_attention(q, k, v)
        mixed: Tensor = self.proj(out.transpose(1, 2).reshape(n, t, c))
        return mixed


class Block(nn.Module):
    """A pre-norm Transformer block: attention, then an MLP."""

    def __init__(self, settings: VitSettings, *, drop_path: float) -> None:
        super().__init__()
        dim = settings.embed_dim
        hidden = int(dim * settings.mlp_ratio)
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads=settings.num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the same shape (n, t, c)."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


class PositionConv(nn.Module):
    """Positions from the neighbourhood: a depthwise 3x3 convolution, added.

    Chu 2021, arXiv 2102.10882. Its zero padding carries the absolute position,
    so that one set of weights serves every image size.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor, *, grid: tuple[int, int]) -> Tensor:
        """Return tokens (n, t, c) that know where they are on the grid (h, w)."""
        n, _, c = x.shape
        on_grid = x.transpose(1, 2).reshape(n, c, *grid)  # (n, c, h, w)
        out: Tensor = x + self.conv(on_grid).flatten(2).transpose(1, 2)
        return out


class Vit(nn.Module):
    """Grey image in, grid of normalised patch tokens out.

    Dosovitskiy 2020, arXiv 2010.11929, with the convolutional stem of Xiao 2021,
    arXiv 2106.14881, and no class token: heads read the mean of the tokens.

    Attributes:
        settings: What the net was built from.
        out_channels: Channels of the token grid.
    """

    def __init__(self, settings: VitSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or VitSettings()
        self.out_channels = settings.embed_dim
        first, second = settings.stem_channels
        self.stem = nn.Sequential(
            nn.Conv2d(1, first, 7, stride=4, padding=3, bias=False),
            nn.BatchNorm2d(first),
            nn.GELU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(second),
            nn.GELU(),
            nn.Conv2d(second, settings.embed_dim, 1),
        )
        rates = torch.linspace(0.0, settings.drop_path, settings.depth).tolist()
        self.blocks = nn.ModuleList(Block(settings, drop_path=rate) for rate in rates)
        self.position = PositionConv(settings.embed_dim)
        self.norm = nn.LayerNorm(settings.embed_dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Return the token grid.

        Args:
            x: Grey images, shape (n, 1, height, width), values 0..1.

        Returns:
            Shape (n, c, height / 8, width / 8), sides rounded up; layer-normed over c.
        """
        return self.encode(self.embed(x))

    def embed(self, x: Tensor) -> Tensor:
        """Return what the stem alone sees: patches that know 23 pixels, not the image."""
        x = (x - x.mean(dim=(2, 3), keepdim=True)) / self.settings.contrast_std
        patches: Tensor = self.stem(x)
        return patches

    def encode(self, patches: Tensor) -> Tensor:
        """Return the token grid of embedded patches, both of shape (n, c, h, w)."""
        n, c, h, w = patches.shape
        tokens = patches.flatten(2).transpose(1, 2)  # (n, h*w, c)
        for index, block in enumerate(self.blocks):
            tokens = block(tokens)
            if index == 0:
                tokens = self.position(tokens, grid=(h, w))
        grid: Tensor = self.norm(tokens).transpose(1, 2).reshape(n, c, h, w)
        return grid


def draw_weights(net: nn.Module, *, generator: torch.Generator) -> None:
    """Draw the starting weights of a net in place.

    Linear layers truncated normal with sd 0.02, convolutions He normal, biases zero.
    """
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02, generator=generator)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)
        if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)


def vit_tiny_stem(
    *, embed_dim: int = 128, depth: int = 6, num_heads: int = 4, drop_path: float = 0.1
) -> Vit:
    """Build the 1.2 M parameter ViT that surface models use by default."""
    return Vit(
        VitSettings(embed_dim=embed_dim, depth=depth, num_heads=num_heads, drop_path=drop_path)
    )
