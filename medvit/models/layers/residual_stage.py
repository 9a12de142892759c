"""Convolution before attention: the block that begins a stage of SwinUNETR-V2.

He 2023, SwinUNETR-V2: stagewise convolutions for volumes.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

EntryNorm = Literal["instance", "channel"]
SLOPE = 0.01


class ResidualEntry(nn.Module):
    """Two 3x3x3 convolutions around a shortcut, normed without weights.

    Args:
        norm: `instance`, as MONAI's weights want it, looks at the whole tile; `channel`
            looks at one voxel.
    """

    def __init__(self, dim: int, norm: EntryNorm) -> None:
        super().__init__()
        self.norm = norm
        self.sees_whole_tile = norm == "instance"
        self.conv1 = nn.Conv3d(dim, dim, 3, padding=1, bias=False)
        self.conv2 = nn.Conv3d(dim, dim, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Turn (b, z, y, x, c) into the same shape."""
        shortcut = x.movedim(-1, 1)
        y = F.leaky_relu(self._normed(self.conv1(shortcut)), SLOPE)
        y = self._normed(self.conv2(y)) + shortcut
        return F.leaky_relu(y, SLOPE).movedim(1, -1).contiguous()

    def _normed(self, x: Tensor) -> Tensor:
        if self.norm == "instance":
            return F.instance_norm(x)
        return F.layer_norm(x.movedim(1, -1), x.shape[1:2]).movedim(-1, 1)
