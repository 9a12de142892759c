"""Feature pyramids for images: maps of one width at fixed strides, from what a backbone gives.

Letters: n images, c channels, h and w cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.models.backbone import Backbone2d
from medvit.models.layers.channel_norm import ChannelNorm


class Pyramid(nn.Module):
    """Turns the maps of a backbone into one map for each stride.

    Norms look at a cell alone, so that a feature does not depend on what else is in the image.

    Attributes:
        strides_px: Pixels on a side of a cell of each map, finest first.
    """

    strides_px: tuple[int, ...]

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return maps (n, width, h, w) of the maps (n, c, h, w) of a backbone."""
        raise NotImplementedError


class SimplePyramid(Pyramid):
    """Scales the last map of a plain Transformer to every stride (Li 2022, arXiv 2203.16527).

    Args:
        channels: Of the last map.
        stride_px: Of the last map.
        width: Channels of the result.
        strides_px: Of the result; powers of two times or parts of `stride_px`.
    """

    def __init__(
        self, channels: int, stride_px: int, *, width: int, strides_px: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.strides_px = strides_px
        self.levels = nn.ModuleList(
            _scaled(channels, width, steps=_steps(stride_px, target)) for target in strides_px
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return maps of the last of `maps`."""
        return [level(maps[-1]) for level in self.levels]


class TopDownPyramid(Pyramid):
    """Adds what coarse maps know to fine ones (Lin 2017, arXiv 1612.03144).

    Args:
        widths: Channels of the maps of the backbone.
        maps_px: Their strides.
        width: Channels of the result.
        strides_px: Of the result; coarser ones than the backbone has come by strided
            convolutions, as in FCOS.

    Raises:
        ValueError: If a stride is finer than the backbone has.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        maps_px: tuple[int, ...],
        *,
        width: int,
        strides_px: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.strides_px = strides_px
        self.taken = tuple(maps_px.index(px) for px in strides_px if px in maps_px)
        coarser = [px for px in strides_px if px > maps_px[-1]]
        if len(self.taken) + len(coarser) < len(strides_px) or not self.taken:
            msg = f"a pyramid at strides {strides_px} cannot be made of maps at {maps_px}"
            raise ValueError(msg)
        self.laterals = nn.ModuleList(_norm_conv(widths[at], width, 1) for at in self.taken)
        self.smooth = nn.ModuleList(_norm_conv(width, width, 3) for _ in self.taken)
        self.further = nn.ModuleList(
            nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in coarser
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return maps of those at the strides of the pyramid, then coarser ones."""
        wanted = [lateral(maps[at]) for lateral, at in zip(self.laterals, self.taken, strict=True)]
        for level in reversed(range(len(wanted) - 1)):
            size = wanted[level].shape[2:]
            wanted[level] = wanted[level] + F.interpolate(wanted[level + 1], size=size)
        out = [smooth(here) for smooth, here in zip(self.smooth, wanted, strict=True)]
        for conv in self.further:
            out.append(conv(F.gelu(out[-1])))
        return out


def build_pyramid(backbone: Backbone2d, *, width: int, strides_px: tuple[int, ...]) -> Pyramid:
    """Return the pyramid that suits a backbone: of its last map, or of several."""
    maps_px = backbone.strides_px
    if len(maps_px) == 1 or maps_px[0] > strides_px[0]:
        return SimplePyramid(backbone.widths[-1], maps_px[-1], width=width, strides_px=strides_px)
    return TopDownPyramid(backbone.widths, maps_px, width=width, strides_px=strides_px)


def _steps(stride_px: int, target_px: int) -> int:
    """Return how often the sides are halved (positive) or doubled (negative).

    Raises:
        ValueError: If no power of two leads from one stride to the other.

    Examples:
        >>> _steps(16, 64), _steps(16, 8)
        (2, -1)
    """
    steps = math.log2(target_px / stride_px)
    if steps != round(steps):
        msg = f"strides of a pyramid differ by powers of two, got {stride_px} and {target_px}"
        raise ValueError(msg)
    return round(steps)


def _scaled(channels: int, width: int, *, steps: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(-steps):
        layers += [nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)]
        layers += [ChannelNorm(channels // 2), nn.GELU()]
        channels //= 2
    layers += [nn.MaxPool2d(2, ceil_mode=True) for _ in range(steps)]
    return nn.Sequential(*layers, _norm_conv(channels, width, 1), _norm_conv(width, width, 3))


def _norm_conv(channels: int, width: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, width, kernel, padding=kernel // 2)
    return nn.Sequential(conv, ChannelNorm(width))
