"""A point detector for volumes: where nodules are centred, and how large they are.

After CenterNet (Zhou 2019, arXiv 1904.07850) in 3D, on a feature pyramid over
any `Backbone3d`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.models.backbone import Backbone3d
from medvit.models.heads.reduction import Reduction
from medvit.models.layers.channel_norm import ChannelNorm, tile_dependent_parts

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
    """An encoder, a top-down pyramid, and one head at the finest map.

    Args:
        backbone: Encoder; its first map sets the stride of the output. Nothing in it may look
            at the whole tile, or a score would depend on what else lies in there.
        width: Channels of the pyramid.
        reduction: Whether candidates are looked at a second time, see `Reduction`.

    Raises:
        ValueError: If the backbone norms or mixes over the whole tile or batch.
    """

    def __init__(self, backbone: Backbone3d, *, width: int = 32, reduction: bool = False) -> None:
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
        self.reduction = Reduction(width, len(backbone.widths)) if reduction else None
        if wide := tile_dependent_parts(self):
            msg = f"a detector's scores must not depend on the tile, but {', '.join(wide[:3])} do"
            raise ValueError(msg)

    @property
    def stride(self) -> int:
        """Voxels on a side of an output cell."""
        return self.backbone.patch_size

    def forward(self, x: Tensor) -> CentreMaps:
        """Return maps over cells of `stride` voxels, their heat after the second look.

        Args:
            x: Volume (n, 1, z, y, x); HU clipped to -1000..400 and scaled to 0..1.

        Raises:
            ValueError: If a side does not divide by `stride`.
        """
        maps, pyramid = self.look(x)
        if self.reduction is None:
            return maps
        return maps._replace(heat=self.reduction.rescore(maps.heat, pyramid))

    def look(self, x: Tensor) -> tuple[CentreMaps, list[Tensor]]:
        """Return the maps of the first look and the pyramid, finest first; as `forward`."""
        if any(side % self.stride for side in x.shape[2:]):
            msg = f"sides must divide by {self.stride}, got {tuple(x.shape[2:])}"
            raise ValueError(msg)
        pyramid: list[Tensor] = []
        maps = self.backbone(x)
        for level in reversed(range(len(maps))):
            here = self.laterals[level](maps[level])
            if level == 0:
                here = here + self.texture(x)
            if pyramid:
                here = here + F.interpolate(pyramid[0], size=here.shape[2:], mode="nearest")
            pyramid.insert(0, self.smooth[level](here))
        out = self.head(pyramid[0]).float()
        return CentreMaps(out[:, :1], out[:, 1:2], out[:, 2:]), pyramid
