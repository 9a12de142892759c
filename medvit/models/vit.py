"""Vision Transformers for surface images, of any size: grey or colour in, grid of tokens out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.models.backbone import Backbone2d, centre_brightness
from medvit.models.layers.drop_path import DropPath
from medvit.models.layers.prompts import Prompts


@dataclass(frozen=True, slots=True)
class VitSettings:
    """The shape of a `Vit`.

    Attributes:
        embed_dim: Width of a token; divisible by `num_heads`.
        depth: Number of Transformer blocks.
        num_heads: Attention heads in each block.
        mlp_ratio: Hidden width of the MLP over `embed_dim`.
        stem_channels: Widths of the strided convolutions of the stem: the first has stride
            4, each further one 2. None at all: one projection of whole patches.
        patch_px: Pixels on a side of a token; the product of the strides of the stem.
        drop_path: Probability that the last block is skipped in training.
        contrast_std: Grey values (0..1) are divided by this after centring.
        in_channels: 1 for grey images, 3 for colour.
        registers: Learned tokens without a place that attention may use as memory
            (Darcet 2023, arXiv 2309.16588); they are left out of the grid.
    """

    embed_dim: int = 128
    depth: int = 6
    num_heads: int = 4
    mlp_ratio: float = 4.0
    stem_channels: tuple[int, ...] = (32, 96)
    patch_px: int = 8
    drop_path: float = 0.1
    contrast_std: float = 0.06
    in_channels: int = 1
    registers: int = 0

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
        if self.stem_channels and 2 << len(self.stem_channels) != self.patch_px:
            msg = (
                f"{len(self.stem_channels)} convolutions of the stem make patches of "
                f"{2 << len(self.stem_channels)} px, but patch_px is {self.patch_px}"
            )
            raise ValueError(msg)


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

    def __init__(self, dim: int, *, num_heads: int, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads=num_heads)
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


class Vit(Backbone2d):
    """Image in, grid of normalised patch tokens out.

    Dosovitskiy 2020, arXiv 2010.11929, with the convolutional stem of Xiao 2021,
    arXiv 2106.14881, and no class token: heads read the mean of the tokens.

    Attributes:
        settings: What the net was built from.
        prompts: Learned tokens of prompt tuning, in front of all others; mostly None.
    """

    def __init__(self, settings: VitSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or VitSettings()
        dim, depth = settings.embed_dim, settings.depth
        self.in_channels = settings.in_channels
        self.widths, self.strides_px = (dim,), (settings.patch_px,)
        self.stem = _stem(settings)
        self.position = PositionConv(dim)
        self.registers: nn.Parameter | None = None
        if settings.registers:
            self.registers = nn.Parameter(torch.empty(settings.registers, dim))
            nn.init.trunc_normal_(self.registers, std=0.02)
        self.prompts: Prompts | None = None
        self.blocks = nn.ModuleList(
            Block(dim, num_heads=settings.num_heads, mlp_ratio=settings.mlp_ratio, drop_path=rate)
            for rate in torch.linspace(0.0, settings.drop_path, depth).tolist()
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def embed(self, x: Tensor) -> Tensor:
        """Return what the stem alone sees: patches that know some 20 pixels, not the image."""
        x = centre_brightness(x, contrast_std=self.settings.contrast_std)
        if not self.settings.stem_channels:
            gaps = [-side % self.settings.patch_px for side in x.shape[2:]]
            x = F.pad(x, (0, gaps[1], 0, gaps[0]))
        patches: Tensor = self.stem(x)
        return patches

    def stages(self, patches: Tensor) -> list[Tensor]:
        """Return the one map there is, of embedded patches (n, c, h, w): the token grid."""
        n, c, h, w = patches.shape
        tokens = patches.flatten(2).transpose(1, 2)  # (n, h*w, c)
        if self.registers is not None:
            tokens = torch.cat([self.registers.expand(n, -1, -1), tokens], dim=1)
        for index, block in enumerate(self.blocks):
            if self.prompts is not None:
                tokens = self.prompts(tokens, block=index)
            tokens = block(tokens)
            if index == 0:
                ahead, placed = tokens[:, : -h * w], tokens[:, -h * w :]
                tokens = torch.cat([ahead, self.position(placed, grid=(h, w))], dim=1)
        grid: Tensor = self.norm(tokens[:, -h * w :]).transpose(1, 2).reshape(n, c, h, w)
        return [grid]


def _stem(settings: VitSettings) -> nn.Module:
    channels, side = settings.in_channels, settings.patch_px
    if not settings.stem_channels:
        return nn.Conv2d(channels, settings.embed_dim, side, stride=side)
    layers: list[nn.Module] = []
    for number, width in enumerate(settings.stem_channels):
        kernel, stride, padding = (3, 2, 1) if number else (7, 4, 3)
        layers += [
            nn.Conv2d(channels, width, kernel, stride=stride, padding=padding, bias=False),
            nn.BatchNorm2d(width),
            nn.GELU(),
        ]
        channels = width
    return nn.Sequential(*layers, nn.Conv2d(channels, settings.embed_dim, 1))


TOKENS = ("registers", "bias_table")
"""Parameters without a layer of their own, by the last part of their names."""


def draw_weights(net: nn.Module, *, generator: torch.Generator) -> None:
    """Draw the starting weights of a net in place.

    Linear layers and tokens truncated normal with sd 0.02, convolutions He normal,
    biases zero.
    """
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02, generator=generator)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)
        if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for name, parameter in net.named_parameters():
        if name.rpartition(".")[2] in TOKENS:
            nn.init.trunc_normal_(parameter, std=0.02, generator=generator)


def vit_tiny_stem(
    *,
    embed_dim: int = 128,
    depth: int = 6,
    num_heads: int = 4,
    drop_path: float = 0.1,
    in_channels: int = 1,
) -> Vit:
    """Build the 1.2 M parameter ViT that surface models use by default."""
    settings = VitSettings(
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        drop_path=drop_path,
        in_channels=in_channels,
    )
    return Vit(settings)


def vit_tiny(*, in_channels: int = 1) -> Vit:
    """Build a ViT-Ti/16: width 192, 12 blocks, 3 heads, 5.4 M parameters."""
    return _sixteen(192, heads=3, in_channels=in_channels)


def vit_small(*, in_channels: int = 1) -> Vit:
    """Build a ViT-S/16: width 384, 12 blocks, 6 heads, 22 M parameters."""
    return _sixteen(384, heads=6, in_channels=in_channels)


def vit_base(*, in_channels: int = 1) -> Vit:
    """Build a ViT-B/16: width 768, 12 blocks, 12 heads, 86 M parameters."""
    return _sixteen(768, heads=12, in_channels=in_channels)


def _sixteen(dim: int, *, heads: int, in_channels: int) -> Vit:
    return Vit(
        VitSettings(
            embed_dim=dim,
            depth=12,
            num_heads=heads,
            stem_channels=(dim // 8, dim // 4, dim // 2),
            patch_px=16,
            in_channels=in_channels,
            registers=4,
        )
    )
