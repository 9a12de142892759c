"""A Swin Transformer for images (Liu 2021, arXiv 2103.14030), on the windows of the 3D one."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.models.backbone import Backbone2d, centre_brightness
from medvit.models.layers.channel_norm import ChannelNorm
from medvit.models.layers.swin_block import Padding, SwinBlock, WindowAttention, layer_norm
from medvit.models.layers.windows import Kind, cut_grid, fit_window

CONTRAST_STD = 0.06
PATCH_PX = 4


class PlaneAttention(WindowAttention):
    """Attention inside windows one token thick, with a table of (2w-1)^2 offsets."""

    def __init__(self, dim: int, num_heads: int, window_size: int) -> None:
        super().__init__(dim, num_heads, window_size)
        span = 2 * window_size - 1
        self.first_row = (window_size - 1) * span**2  # offset 0 along z in the table of a cube
        self.bias_table = nn.Parameter(torch.zeros(span**2, num_heads))
        nn.init.trunc_normal_(self.bias_table, std=0.02)

    def _gather(self, kinds: tuple[Kind, ...], padding: Padding) -> list[Tensor]:
        flat = (replace(kind, rows=kind.rows - self.first_row) for kind in kinds)
        return super()._gather(tuple(flat), padding)


class PlaneMerging(nn.Module):
    """Join four neighbours: their features side by side, normed, to twice the width."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Turn (n, h, w, c) into (n, h/2, w/2, 2c), sides rounded up."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        parts = [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
        out: Tensor = self.reduction(self.norm(torch.cat(parts, dim=-1)))
        return out


class PlaneStage(nn.Module):
    """Blocks on one grid, every other one with shifted windows, then merging but in the last."""

    def __init__(
        self, dim: int, num_heads: int, window_size: int, *, rates: list[float], merges: bool
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.blocks = nn.ModuleList(
            SwinBlock(dim, num_heads, window_size, drop_path=rate) for rate in rates
        )
        for block in self.blocks:
            block.attn = PlaneAttention(dim, num_heads, window_size)
        self.merging = PlaneMerging(dim) if merges else None

    def forward(self, x: Tensor) -> Tensor:
        """Transform (n, h, w, c); may overwrite it where gradients are off."""
        grid = (1, x.shape[1], x.shape[2])
        tokens = x.flatten(1, 2)
        for number, block in enumerate(self.blocks):
            window, shift = fit_window(
                grid, window=self.window_size, shift=number % 2 * (self.window_size // 2)
            )
            kinds = cut_grid(
                grid, window, shift, table_side=self.window_size, exact=True, device=x.device
            )
            tokens = block(tokens, kinds, "masked")
        return tokens.view(x.shape)

    def merge(self, x: Tensor) -> Tensor:
        """Return what the next stage begins with; the input of the last one as it is."""
        out: Tensor = x if self.merging is None else self.merging(x)
        return out


class Swin2d(Backbone2d):
    """Encoder that turns an image into feature maps of falling resolution.

    Args:
        embed_dim: Channels of the first map; they double with each stage.
        depths: Blocks of each stage.
        num_heads: Attention heads of each stage.
        window_size: Side of a window in tokens.
        drop_path: Stochastic depth of the last block; rises linearly over all blocks.
        in_channels: 1 for grey images, 3 for colour.
    """

    def __init__(
        self,
        embed_dim: int = 96,
        depths: tuple[int, ...] = (2, 2, 6, 2),
        num_heads: tuple[int, ...] = (3, 6, 12, 24),
        window_size: int = 7,
        *,
        drop_path: float = 0.1,
        in_channels: int = 1,
    ) -> None:
        super().__init__()
        if len(depths) != len(num_heads) or not depths:
            msg = f"depths {depths} and num_heads {num_heads} must name the same stages"
            raise ValueError(msg)
        self.in_channels = in_channels
        self.widths = tuple(embed_dim << level for level in range(len(depths)))
        self.strides_px = tuple(PATCH_PX << level for level in range(len(depths)))
        self.patch_embed = nn.Conv2d(in_channels, embed_dim, PATCH_PX, stride=PATCH_PX)
        self.norm = ChannelNorm(embed_dim)
        rates = iter(torch.linspace(0, drop_path, sum(depths)).tolist())
        self.levels = nn.ModuleList(
            PlaneStage(
                width,
                heads,
                window_size,
                rates=[next(rates) for _ in range(depth)],
                merges=width != self.widths[-1],
            )
            for width, heads, depth in zip(self.widths, num_heads, depths, strict=True)
        )

    def embed(self, x: Tensor) -> Tensor:
        """Return normed patches of 4 pixels on a side; the image is padded to whole ones."""
        x = centre_brightness(x, contrast_std=CONTRAST_STD)
        gaps = [-side % PATCH_PX for side in x.shape[2:]]
        patches: Tensor = self.norm(self.patch_embed(F.pad(x, (0, gaps[1], 0, gaps[0]))))
        return patches

    def stages(self, patches: Tensor) -> list[Tensor]:
        """Return the map of each stage, layer-normed over channels without weight and bias."""
        x = patches.movedim(1, -1).contiguous()  # (n, h, w, c)
        maps = []
        for level in self.levels:
            x = level(x)
            maps.append(layer_norm(x).movedim(-1, 1))
            x = level.merge(x)  # type: ignore[operator]
        return maps


def swin2d_micro(*, in_channels: int = 1) -> Swin2d:
    """Build a Swin of 2.2 M parameters: width 48, depths 2, 2, 4."""
    return Swin2d(48, (2, 2, 4), (3, 6, 12), in_channels=in_channels)


def swin2d_tiny(*, in_channels: int = 1) -> Swin2d:
    """Build a Swin-T: width 96, depths 2, 2, 6, 2, 28 M parameters."""
    return Swin2d(in_channels=in_channels)
