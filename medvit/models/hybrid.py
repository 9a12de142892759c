"""Convolutions first, then attention beside convolutions, joined by a gate.

In the manner of CoAtNet (Dai 2021, arXiv 2106.04803), with positions from a depthwise
convolution instead of a bias table, so that images may have any size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medvit.models.backbone import Backbone2d, centre_brightness
from medvit.models.layers.drop_path import DropPath
from medvit.models.layers.gated_fusion import GatedFusion
from medvit.models.layers.se import ChannelGate
from medvit.models.vit import Block, PositionConv

CONTRAST_STD = 0.06


@dataclass(frozen=True, slots=True)
class HybridSettings:
    """The shape of a `Hybrid`.

    Attributes:
        widths: Channels at strides 4, 8 and 16.
        depths: Convolutional blocks at stride 8, and of each branch at stride 16.
        num_heads: Attention heads.
        drop_path: Probability that the last block of a branch is skipped in training.
        in_channels: 1 for grey images, 3 for colour.
    """

    widths: tuple[int, int, int] = (48, 96, 192)
    depths: tuple[int, int] = (2, 4)
    num_heads: int = 6
    drop_path: float = 0.1
    in_channels: int = 1


class MbConv(nn.Module):
    """Widen, convolve each channel, gate, narrow (Sandler 2018, arXiv 1801.04381).

    Args:
        channels: Of the input.
        out: Of the output.
        stride: 2 halves the sides; the block then has no shortcut.
        drop_path: Probability that the block is skipped in training.
    """

    def __init__(self, channels: int, out: int, *, stride: int = 1, drop_path: float = 0) -> None:
        super().__init__()
        hidden = 4 * channels
        self.norm = nn.BatchNorm2d(channels)
        self.widen = nn.Conv2d(channels, hidden, 1, bias=False)
        self.widen_norm = nn.BatchNorm2d(hidden)
        self.depthwise = nn.Conv2d(
            hidden, hidden, 3, stride=stride, padding=1, groups=hidden, bias=False
        )
        self.depthwise_norm = nn.BatchNorm2d(hidden)
        self.gate = ChannelGate(hidden)
        self.narrow = nn.Conv2d(hidden, out, 1)
        self.activation = nn.GELU()
        self.drop_path = DropPath(drop_path)
        self.has_shortcut = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, out, h / stride, w / stride), sides rounded up."""
        y = self.activation(self.widen_norm(self.widen(self.norm(x))))
        y = self.activation(self.depthwise_norm(self.depthwise(y)))
        y = self.narrow(self.gate(y))
        out: Tensor = x + self.drop_path(y) if self.has_shortcut else y
        return out


class Hybrid(Backbone2d):
    """A convolutional trunk, then a convolutional and an attending branch on one grid."""

    def __init__(self, settings: HybridSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or HybridSettings()
        first, second, third = settings.widths
        rates = torch.linspace(0, settings.drop_path, settings.depths[1]).tolist()
        self.in_channels = settings.in_channels
        self.widths, self.strides_px = (second, third), (8, 16)
        self.stem = nn.Sequential(
            nn.Conv2d(settings.in_channels, first, 7, stride=4, padding=3, bias=False),
            nn.BatchNorm2d(first),
            nn.GELU(),
        )
        self.trunk = nn.Sequential(
            MbConv(first, second, stride=2),
            *(MbConv(second, second) for _ in range(settings.depths[0] - 1)),
        )
        self.narrowing = MbConv(second, third, stride=2)
        self.position = PositionConv(third)
        self.local = nn.Sequential(*(MbConv(third, third, drop_path=rate) for rate in rates[::2]))
        self.attending = nn.ModuleList(
            Block(third, num_heads=settings.num_heads, mlp_ratio=4, drop_path=rate)
            for rate in rates
        )
        self.fusion = GatedFusion(third)

    def embed(self, x: Tensor) -> Tensor:
        """Return the map of the stem, one cell for 4 pixels on a side."""
        patches: Tensor = self.stem(centre_brightness(x, contrast_std=CONTRAST_STD))
        return patches

    def stages(self, patches: Tensor) -> list[Tensor]:
        """Return the map of the trunk, and that of both branches."""
        fine = self.trunk(patches)
        coarse = self.narrowing(fine)
        n, c, h, w = coarse.shape
        tokens = self.position(coarse.flatten(2).transpose(1, 2), grid=(h, w))
        for block in self.attending:
            tokens = block(tokens)
        attended = tokens.transpose(1, 2).reshape(n, c, h, w)
        return [fine, self.fusion(self.local(coarse), attended)]


def hybrid_small(*, in_channels: int = 1) -> Hybrid:
    """Build a hybrid of 2.9 M parameters, for small data."""
    return Hybrid(HybridSettings(in_channels=in_channels))
