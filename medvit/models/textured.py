"""A backbone whose features are joined by the spread of all its maps and by plain texture."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medvit.models.backbone import Backbone2d
from medvit.models.layers.texture import WIDTH, Texture

LEAST_SD = 0.05
"""Of the mean sd of its block: a channel that hardly varied in training is not blown up."""

TINY = 1e-12
"""Least variance of a map: a limit, for the exporter to ONNX leaves out so small a summand."""


class TexturedBackbone(Backbone2d):
    """Mean and sd of every map of a network, and plain `Texture` of the image, on one scale.

    The last map holds all of them, so that its mean over places is what heads read: each
    place has its part of a mean and of an sd, and texture is the same at every place.
    Features are taken less their mean over training images and by their sd, and each of the
    two blocks by the root of its width: both weigh the same in a distance. No gradient goes
    through texture, so maps of what speaks for a class show the network's part.

    Attributes:
        mean: Of raw features over training images, (d,); see `learn_scale`.
        scale: Factor of what is left, (d,).

    Args:
        network: Any backbone of images.
        plain: With `Texture` of the image; without it mean and sd of the maps stand alone.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, network: Backbone2d, *, plain: bool = True) -> None:
        super().__init__()
        self.network = network
        self.texture = Texture() if plain else None
        self.in_channels = network.in_channels
        self.strides_px = network.strides_px
        self.probe_px = network.probe_px
        self.evidence_shares = network.evidence_shares
        channels = 2 * sum(network.widths) + self.plain_channels
        self.widths = (*network.widths[:-1], channels)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))

    @property
    def plain_channels(self) -> int:
        """How many channels are texture of the image."""
        return 0 if self.texture is None else WIDTH

    @property
    def placed_channels(self) -> int:
        """Means and sds; texture is the same everywhere."""
        return self.out_channels - self.plain_channels

    @property
    def surface_channels(self) -> NDArray[np.intp] | None:
        """Those of all maps but the last, and texture.

        The last map tells things apart, which new surfaces share: with each class of X-SDD left
        out in turn, its images are told with an AUROC of 0.946 without and 0.929 with it
        (EfficientNet-Lite0 on ImageNet weights, `benchmarks/ood.py`).
        """
        every, finer = sum(self.network.widths), sum(self.network.widths[:-1])
        if not finer:
            return None
        blocks = ((0, finer), (every, every + finer), (2 * every, self.out_channels))
        return np.concatenate([np.arange(*block) for block in blocks])

    @property
    def bare(self) -> Backbone2d:
        """The network alone."""
        return self.network

    def fold_norms(self) -> None:
        """Merge what the network can merge."""
        self.network.fold_norms()

    def embed(self, x: Tensor) -> Tensor:
        """Return what the network's first layers see, with texture as further channels."""
        patches = self.network.embed(x)
        return patches if self.texture is None else _with_texture(patches, self.texture(x))

    def stages(self, patches: Tensor) -> list[Tensor]:
        """Return the maps of the network, and all features in place of its last one."""
        own, texture = self._parted(patches)
        return self._all_features(self.network.stages(own), texture)

    def evidence_grid(self, patches: Tensor) -> Tensor:
        """Return the network's grid, with texture as further channels."""
        own, texture = self._parted(patches)
        found = self.network.evidence_grid(own)
        return found if self.texture is None else _with_texture(found, texture)

    def stages_of_grid(self, grid: Tensor) -> list[Tensor]:
        """Return the same maps as of all patches."""
        own, texture = self._parted(grid)
        return self._all_features(self.network.stages_of_grid(own), texture)

    def raw(self, x: Tensor) -> Tensor:
        """Return features (n, d) of images before they are brought to one scale."""
        own, texture = self._parted(self.embed(x))
        return _joined(self.network.stages(own), texture).mean(dim=(2, 3))

    @torch.no_grad()
    def learn_scale(self, features: Tensor) -> None:
        """Set mean and scale by raw features (n, d) of training images, n at least 2.

        Raises:
            ValueError: If there are fewer than 2.
        """
        if len(features) < 2:
            msg = f"the scale of features needs at least 2 training images, got {len(features)}"
            raise ValueError(msg)
        wide = features.double()
        sds = wide.std(dim=0)
        own = self.placed_channels
        blocks = (sds,) if self.texture is None else (sds[:own], sds[own:])
        floored = [each.clamp(min=max(LEAST_SD * float(each.mean()), TINY)) for each in blocks]
        factors = [1 / (each * len(each) ** 0.5) for each in floored]
        self.mean.copy_(wide.mean(dim=0))
        self.scale.copy_(torch.cat(factors))

    def _parted(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Return a grid without its channels of texture, and texture (n, d)."""
        own = grid.shape[1] - self.plain_channels
        return grid[:, :own], grid[:, own:, 0, 0]

    def _all_features(self, maps: list[Tensor], texture: Tensor) -> list[Tensor]:
        features = _joined(maps, texture.detach()).float()
        return [*maps[:-1], (features - self.mean[:, None, None]) * self.scale[:, None, None]]


def _with_texture(grid: Tensor, texture: Tensor) -> Tensor:
    """Return a grid (n, c, h, w) with texture (n, d) as further channels."""
    wide = texture.to(grid.dtype)[:, :, None, None]
    return torch.cat([grid, wide.expand(-1, -1, *grid.shape[2:])], dim=1)


def _joined(maps: list[Tensor], texture: Tensor) -> Tensor:
    """Return (n, d, h, w) on the grid of the last map: means, sds, texture."""
    grid = maps[-1].shape[2:]
    maps = [own.float() for own in maps]
    parts = [_on_grid(own, grid) for own in maps] + [
        _on_grid(_deviations(own), grid) for own in maps
    ]
    if texture.shape[1]:
        parts.append(texture.float()[:, :, None, None].expand(-1, -1, *grid))
    return torch.cat(parts, dim=1)


def _deviations(values: Tensor) -> Tensor:
    """Return a map (n, c, h, w) whose mean over places is the sd of another."""
    squares = (values - values.mean(dim=(2, 3), keepdim=True)) ** 2
    return squares / squares.mean(dim=(2, 3), keepdim=True).clamp(min=TINY).sqrt()


def _on_grid(values: Tensor, grid: torch.Size) -> Tensor:
    """Return a map on a coarser grid; its mean over places stays."""
    coarse = F.adaptive_avg_pool2d(values, (grid[0], grid[1]))
    off = values.mean(dim=(2, 3), keepdim=True) - coarse.mean(dim=(2, 3), keepdim=True)
    return coarse + off  # cells of uneven size would count by cell
