"""An anchor-free detector of boxes on images.

FCOS (Tian 2019, arXiv 1904.01355) on a feature pyramid over any `Backbone2d`. Letters: n
images, p locations of all levels, k classes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.models.backbone import Backbone2d
from medvit.models.layers.channel_norm import ChannelNorm
from medvit.models.layers.pyramid import build_pyramid

PRIOR_PROBABILITY = 0.01
TYPICAL_REACH = 4.0
"""Strides from a location to a side of its box at the start of a training."""

STRIDES_PX = (8, 16, 32)


class BoxMaps(NamedTuple):
    """What the detector says of each location of a grid at each level, finest level first.

    Attributes:
        labels: Logit of each class (n, p, k); classes do not exclude each other.
        reaches: Distances to the left, top, right and bottom of the box, pixels (n, p, 4).
        centre: Logit of how near to the middle of its box a location is (n, p).
        points: x and y of each location, pixels (p, 2).
        strides: Pixels on a side of the cell around each location (p,).
    """

    labels: Tensor
    reaches: Tensor
    centre: Tensor
    points: Tensor
    strides: Tensor

    def boxes(self) -> Tensor:
        """Return x_min, y_min, x_max, y_max in pixels (n, p, 4)."""
        return boxes_around(self.points, self.reaches)

    def scores(self) -> Tensor:
        """Return the geometric mean of class and centre-ness, 0..1 (n, p, k)."""
        return (self.labels.sigmoid() * self.centre.sigmoid()[..., None]).sqrt()


def boxes_around(points: Tensor, reaches: Tensor) -> Tensor:
    """Return boxes (..., p, 4) that reach from points (p, 2) to all four sides.

    Examples:
        >>> boxes_around(torch.tensor([[4.0, 6.0]]), torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
        tensor([[ 3.,  4.,  7., 10.]])
    """
    return torch.cat([points - reaches[..., :2], points + reaches[..., 2:]], dim=-1)


def grid_points(height: int, width: int, stride_px: int, *, device: torch.device) -> Tensor:
    """Return x and y of the middle of each cell of a grid, row by row (h*w, 2).

    Examples:
        >>> grid_points(1, 2, 8, device=torch.device("cpu")).tolist()
        [[4.0, 4.0], [12.0, 4.0]]
    """
    y = (torch.arange(height, device=device) + 0.5) * stride_px
    x = (torch.arange(width, device=device) + 0.5) * stride_px
    return torch.stack([x.repeat(height), y.repeat_interleave(width)], dim=1)


class BoxHead(nn.Module):
    """Two towers of convolutions that all levels share: one for classes, one for boxes.

    Args:
        width: Channels of the pyramid.
        classes: Number of classes.
        levels: Of the pyramid; each has a scale of its own for distances.
        depth: Convolutions of a tower.
    """

    def __init__(self, width: int, *, classes: int, levels: int, depth: int = 2) -> None:
        super().__init__()
        self.label_tower = nn.Sequential(*(_block(width) for _ in range(depth)))
        self.box_tower = nn.Sequential(*(_block(width) for _ in range(depth)))
        self.labels = nn.Conv2d(width, classes, 3, padding=1)
        self.reaches = nn.Conv2d(width, 4, 3, padding=1)
        self.centre = nn.Conv2d(width, 1, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(levels))
        for layer in (self.labels, self.reaches, self.centre):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.constant_(
            self.labels.bias,  # type: ignore[arg-type]
            -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY),
        )
        nn.init.constant_(self.reaches.bias, TYPICAL_REACH)  # type: ignore[arg-type]

    def forward(self, x: Tensor, *, level: int, stride_px: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return labels (n, h*w, k), reaches in pixels (n, h*w, 4) and centre-ness (n, h*w)."""
        about_box = self.box_tower(x)
        labels = self.labels(self.label_tower(x)).float()
        reaches = F.softplus(self.scales[level] * self.reaches(about_box).float()) * stride_px
        centre = self.centre(about_box).float()
        return (
            labels.flatten(2).transpose(1, 2),
            reaches.flatten(2).transpose(1, 2),
            centre.flatten(1),
        )


class BoxDetector(nn.Module):
    """A backbone, a pyramid and a head.

    Args:
        backbone: Encoder of images.
        classes: Number of classes; there is none for the ground.
        width: Channels of pyramid and head.
        strides_px: Of the levels of the pyramid, doubling.
    """

    def __init__(
        self,
        backbone: Backbone2d,
        *,
        classes: int,
        width: int = 96,
        strides_px: tuple[int, ...] = STRIDES_PX,
    ) -> None:
        super().__init__()
        if classes < 1 or list(strides_px) != [strides_px[0] << n for n in range(len(strides_px))]:
            msg = f"boxes need a class and strides that double, got {classes} and {strides_px}"
            raise ValueError(msg)
        self.classes = classes
        self.strides_px = strides_px
        self.backbone = backbone
        self.pyramid = build_pyramid(backbone, width=width, strides_px=strides_px)
        self.head = BoxHead(width, classes=classes, levels=len(strides_px))

    def forward(self, x: Tensor) -> BoxMaps:
        """Return what is said of each location of images (n, c, h, w) in 0..1."""
        levels = self.pyramid(self.backbone.maps(x))
        parts, points, strides = [], [], []
        for number, (level, stride_px) in enumerate(zip(levels, self.strides_px, strict=True)):
            parts.append(self.head(level, level=number, stride_px=stride_px))
            found = grid_points(level.shape[2], level.shape[3], stride_px, device=x.device)
            points.append(found)
            strides.append(found.new_full((len(found),), stride_px))
        labels, reaches, centre = (torch.cat(each, dim=1) for each in zip(*parts, strict=True))
        return BoxMaps(labels, reaches, centre, torch.cat(points), torch.cat(strides))


def _block(width: int) -> nn.Sequential:
    conv = nn.Conv2d(width, width, 3, padding=1)
    return nn.Sequential(conv, ChannelNorm(width), nn.GELU())
