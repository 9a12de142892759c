"""What heads ask of an encoder of volumes or of images, whatever it is made of."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn


@runtime_checkable
class Backbone3d(Protocol):
    """An encoder that turns (b, c, z, y, x) into maps of falling resolution.

    The first map has one cell for `patch_size` voxels on a side; each further one halves
    the sides, rounding up.
    """

    patch_size: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each map."""

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Return the maps, finest first."""


class Backbone2d(nn.Module):
    """An encoder that turns images (n, c, h, w), values 0..1, into a grid of features.

    Attributes:
        in_channels: 1 for grey images, 3 for colour.
        widths: Channels of each map, finest first; the last one is what heads read.
        strides_px: Pixels on a side of a cell of each map.
        probe_px: Side of an image that the net surely takes.
        evidence_shares: Where on the way from a flat image (0) to this one (1) slopes are read
            that tell what speaks for a class.
    """

    in_channels: int
    widths: tuple[int, ...]
    strides_px: tuple[int, ...]
    probe_px: int = 64
    evidence_shares: tuple[float, ...] = (0.25, 0.75)

    @property
    def out_channels(self) -> int:
        """Channels of the last map."""
        return self.widths[-1]

    @property
    def placed_channels(self) -> int:
        """Channels of the last map that differ from place to place; the others come after."""
        return self.out_channels

    @property
    def surface_channels(self) -> NDArray[np.intp] | None:
        """Channels of the last map that tell a known surface from another; None for all."""
        return None

    @property
    def bare(self) -> Backbone2d:
        """The network itself, of a backbone that adds something to its features."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return the last map (n, c, h, w); sides are those of the image by the stride, up."""
        return self.encode(self.embed(x))

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return all maps, finest first."""
        return self.stages(self.embed(x))

    def encode(self, patches: Tensor) -> Tensor:
        """Return the last map of embedded patches."""
        return self.stages(patches)[-1]

    def embed(self, x: Tensor) -> Tensor:
        """Return what the first layers see: patches that know their surroundings only."""
        raise NotImplementedError

    def stages(self, patches: Tensor) -> list[Tensor]:
        """Return all maps of embedded patches."""
        raise NotImplementedError

    def evidence_grid(self, patches: Tensor) -> Tensor:
        """Return the grid at which to ask what speaks for a class, of embedded patches.

        Its cells must know their own surroundings only. Where attention follows, those are the
        patches themselves.
        """
        return patches

    def stages_of_grid(self, grid: Tensor) -> list[Tensor]:
        """Return all maps of such a grid."""
        return self.stages(grid)

    def encode_grid(self, grid: Tensor) -> Tensor:
        """Return the last map of such a grid."""
        return self.stages_of_grid(grid)[-1]

    def fold_norms(self) -> None:
        """Merge what can be merged for inference only; answers stay the same to rounding.

        Here that is nothing. The network must be in evaluation mode, and cannot be saved later.
        """


def centre_brightness(x: Tensor, *, contrast_std: float) -> Tensor:
    """Return images (n, c, h, w) less their mean brightness, in units of `contrast_std`.

    All channels of an image lose the same mean, so that its hue stays.
    """
    return (x - x.mean(dim=(1, 2, 3), keepdim=True)) / contrast_std
