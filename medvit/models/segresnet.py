"""The convolutional baseline: the encoder of MONAI's SegResNet behind the heads of `Swin3d`.

Myronenko 2018 (arXiv 1810.11654). So that every table can say whether attention pays.
"""

from __future__ import annotations

from monai.networks.nets.segresnet import SegResNet
from torch import Tensor, nn

from medvit.models.layers.channel_norm import ChannelNorm

PATCH_SIZE = 2


class SegResNetEncoder(nn.Module):
    """Residual 3x3x3 convolutions at five resolutions, halved by strided ones.

    Two things differ from MONAI's: the first convolution has a stride of `PATCH_SIZE`, so that
    the maps have the sizes of `Swin3d`'s, and group norms are norms over channels, so that a
    voxel's features do not depend on what else lies in the tile.

    Args:
        width: Channels of the first map; they double with each level.
        blocks: Residual blocks at each level.
    """

    def __init__(
        self, in_channels: int = 1, *, width: int = 16, blocks: tuple[int, ...] = (2, 2, 2, 2, 2)
    ) -> None:
        super().__init__()
        one_group = ("group", {"num_groups": 1})
        net = SegResNet(
            init_filters=width, in_channels=in_channels, norm=one_group, blocks_down=blocks
        )
        self.patch_size = PATCH_SIZE
        self.in_channels = in_channels
        self.stem = nn.Conv3d(in_channels, width, 4, stride=PATCH_SIZE, padding=1, bias=False)
        self.levels = net.down_layers
        norm_by_channel(self.levels)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each returned map."""
        return tuple(self.stem.out_channels * 2**level for level in range(len(self.levels)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return one map per level, finest first, of (b, c, z, y, x).

        Raises:
            ValueError: If the channels differ, or a side does not divide by the stride.
        """
        if x.dim() != 5 or x.shape[1] != self.in_channels:
            msg = f"expected (b, {self.in_channels}, z, y, x), got {tuple(x.shape)}"
            raise ValueError(msg)
        if any(side % PATCH_SIZE for side in x.shape[2:]):
            msg = f"sides must divide by {PATCH_SIZE}, got {tuple(x.shape[2:])}"
            raise ValueError(msg)
        x = self.stem(x)
        maps = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        return maps


def norm_by_channel(module: nn.Module) -> None:
    """Put a `ChannelNorm` in the place of every group norm, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.GroupNorm):
            setattr(module, name, ChannelNorm(child.num_channels))
        else:
            norm_by_channel(child)
