"""A point detector for volumes: where nodules are centred, and how large they are.

After CenterNet (Zhou 2019, arXiv 1904.07850) in 3D, on a feature pyramid over
`Swin3d`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.models.swin3d import Swin3d

PRIOR_PROBABILITY = 0.01
TYPICAL_DIAMETER_MM = 7.3  # exp(1.99), the median of LUNA16's log-normal diameters


class CentreMaps(NamedTuple):
    """What the detector says of each cell of a grid with `stride` voxels a cell.

    The centre of a nodule peaked in cell (z, y, x) lies at voxel coordinate
    `(cell + 0.5 + offset) * stride - 0.5`, where integer coordinates are voxel
    centres. All maps are (n, channels, z, y, x).

    Attributes:
        heat: One logit a cell.
        log_diameter: Natural log of the diameter in mm.
        offset: Distance from the cell's centre to the nodule's in cells, (z, y, x).
    """

    heat: Tensor
    log_diameter: Tensor
    offset: Tensor


class ChannelNorm(nn.Module):
    """Layer norm over the channels of (n, c, z, y, x), voxel by voxel.

    A score then does not depend on what else lies in the tile.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (n, c, z, y, x) over c."""
        out: Tensor = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return out


def _conv_block(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(channels, channels, 3, padding=1), ChannelNorm(channels), nn.GELU()
    )


def _output_layer(channels: int) -> nn.Conv3d:
    heat_bias = -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY)
    layer = nn.Conv3d(channels, 5, 1)
    nn.init.normal_(layer.weight, std=0.01)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([heat_bias, math.log(TYPICAL_DIAMETER_MM), 0, 0, 0]))  # type: ignore[union-attr]
    return layer


class NoduleDetector(nn.Module):
    """Swin3d, a top-down pyramid, and one head at the finest map.

    Args:
        backbone: Encoder; its first map sets the stride of the output.
        width: Channels of the pyramid.
    """

    def __init__(self, backbone: Swin3d, *, width: int = 32) -> None:
        super().__init__()
        self.backbone = backbone
        self.laterals = nn.ModuleList(
            nn.Sequential(nn.Conv3d(channels, width, 1), ChannelNorm(width))
            for channels in backbone.widths
        )
        self.smooth = nn.ModuleList(_conv_block(width) for _ in backbone.widths)
        self.texture = nn.Sequential(
            nn.Conv3d(1, width, 4, stride=2, padding=1), ChannelNorm(width), nn.GELU()
        )
        self.head = nn.Sequential(_conv_block(width), _output_layer(width))

    @property
    def stride(self) -> int:
        """Voxels on a side of an output cell."""
        return self.backbone.patch_size

    def forward(self, x: Tensor) -> CentreMaps:
        """Return maps over cells of `stride` voxels.

        Args:
            x: Volume (n, 1, z, y, x); HU clipped to -1000..400 and scaled to 0..1.
        """
        maps = self.backbone(x)
        top: Tensor | None = None
        for level in reversed(range(len(maps))):
            here = self.laterals[level](maps[level])
            if level == 0:
                here = here + self.texture(x)
            if top is not None:
                here = here + F.interpolate(top, size=here.shape[2:], mode="nearest")
            top = self.smooth[level](here)
        out = self.head(top).float()
        return CentreMaps(out[:, :1], out[:, 1:2], out[:, 2:])
