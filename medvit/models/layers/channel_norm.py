"""Norms of channels-first volumes, and which of them look beyond a voxel."""

from __future__ import annotations

from torch import Tensor, nn

WIDE_NORMS = (nn.GroupNorm, nn.modules.batchnorm._NormBase, nn.LocalResponseNorm)
"""Norms whose statistics come from the whole tile or from the other samples of a batch."""


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


def tile_dependent_parts(net: nn.Module) -> list[str]:
    """Return the names of modules that make a voxel's features depend on the whole tile.

    Those are norms over space or batch, and modules that say so by `sees_whole_tile`.

    Examples:
        >>> tile_dependent_parts(nn.Sequential(nn.Conv3d(1, 4, 3), nn.GroupNorm(2, 4)))
        ['1 (GroupNorm)']
    """
    return [
        f"{name} ({type(module).__name__})"
        for name, module in net.named_modules()
        if isinstance(module, WIDE_NORMS) or getattr(module, "sees_whole_tile", False)
    ]
