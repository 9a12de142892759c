"""Test-time augmentation: a tile is also looked at in mirrors, and the answers are averaged."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn

from medvit.models.heads.centre import CentreMaps

AXES = (4, 3, 2)
"""Left and right first: a chest looks most like itself in that mirror. Of (n, c, z, y, x)."""

VIEWS = (1, 2, 4, 8)


class MirroredViews(nn.Module):
    """A detector that is asked once for each mirrored view of a tile.

    A view costs as much time as the tile itself, and no more memory: they come one by one.

    Args:
        model: Returns `CentreMaps`; its `stride` divides the sides of all tiles.
        views: 2: mirrored left to right; 4: also front to back; 8: also head to feet.

    Raises:
        ValueError: If a tile has not as many views.
    """

    def __init__(self, model: nn.Module, *, views: int) -> None:
        super().__init__()
        if views not in VIEWS:
            msg = f"a tile has {', '.join(map(str, VIEWS))} mirrored views, got {views}"
            raise ValueError(msg)
        self.model = model
        self.axes = AXES[: VIEWS.index(views)]
        self.train(model.training)

    @property
    def stride(self) -> int:
        """Voxels on a side of an output cell."""
        return int(self.model.stride)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> CentreMaps:
        """Return the mean maps of all views, turned back."""
        views = [
            [axis for axis, is_turned in zip(self.axes, turned, strict=True) if is_turned]
            for turned in product((False, True), repeat=len(self.axes))
        ]
        total = self._seen(x, views[0])
        for axes in views[1:]:
            total = CentreMaps(*map(torch.add, total, self._seen(x, axes)))
        return CentreMaps(*(part / len(views) for part in total))

    def _seen(self, x: Tensor, axes: list[int]) -> CentreMaps:
        maps: CentreMaps = self.model(x.flip(axes))
        heat, log_diameter = maps.heat.flip(axes), maps.log_diameter.flip(axes)
        return CentreMaps(heat, log_diameter, _offset(maps.offset, axes))


def _offset(offset: Tensor, axes: list[int]) -> Tensor:
    """Turn offsets (n, 3, z, y, x) back: along a mirrored axis they point the other way."""
    sign = offset.new_ones(3)
    sign[[axis - 2 for axis in axes]] = -1
    return offset.flip(axes) * sign.view(1, 3, 1, 1, 1)
