"""What heads ask of an encoder of volumes, whatever it is made of."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


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
