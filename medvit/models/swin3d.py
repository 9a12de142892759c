"""3D Swin Transformer: five feature maps from a volume.

Liu 2021 (arXiv 2103.14030) in 3D as in Hatamizadeh 2022 (2201.01266). With the
same weights it gives the numbers of MONAI's `SwinTransformer`.

Letters: b batch, c channels, h heads, n tokens in a window, m windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.models.layers.drop_path import DropPath
from medvit.models.layers.windows import (
    Side,
    fit_window,
    mask_classes,
    pad_to_windows,
    partition,
    relative_index,
    unpartition,
)
from medvit.models.monai_weights import LoadReport, map_monai_keys

Merging = Literal["pre1.5", "1.5", "v2"]
BiasIndex = Literal["exact", "monai"]

# Offsets (z, y, x) in the order in which a 2x2x2 block is concatenated. "pre1.5"
# takes two parities twice and never 110 and 011: weights published before 2025
# were trained so.
MERGING_ORDERS: dict[Merging, tuple[str, ...]] = {
    "pre1.5": ("000", "100", "010", "001", "101", "010", "001", "111"),
    "1.5": ("000", "100", "010", "001", "110", "101", "011", "111"),
    "v2": ("000", "001", "010", "011", "100", "101", "110", "111"),
}


class WindowAttention(nn.Module):
    """Attention inside windows with a learned bias per relative offset."""

    def __init__(self, dim: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        if dim % num_heads:
            msg = f"width {dim} does not divide by {num_heads} heads"
            raise ValueError(msg)
        self.num_heads = num_heads
        self.window_size = window_size
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.bias_table = nn.Parameter(torch.zeros((2 * window_size - 1) ** 3, num_heads))
        nn.init.trunc_normal_(self.bias_table, std=0.02)

    def bias(self, window: Side, index: BiasIndex) -> Tensor:
        """Return the bias (h, n, n) for a window that may be smaller than the full one."""
        full = (self.window_size,) * 3
        rows = relative_index(window if index == "exact" else full, table_side=self.window_size)
        n = window[0] * window[1] * window[2]
        rows = rows[:n, :n].to(self.bias_table.device)
        bias: Tensor = self.bias_table[rows].permute(2, 0, 1)
        return bias

    def forward(self, x: Tensor, grid: Side, window: Side, shift: Side, index: BiasIndex) -> Tensor:
        """Attend within the windows of (b, m, n, c)."""
        b, m, n, c = x.shape
        qkv = self.qkv(x).view(b, m, n, 3, self.num_heads, c // self.num_heads)
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)  # (b, m, h, n, c/h) each
        bias = self.bias(window, index).to(x.dtype)
        groups = mask_classes(grid, window, shift)
        if len(groups) == 1:
            seen = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        else:
            seen = torch.empty_like(q)
            for where, mask in groups:
                at = where.to(x.device)
                score = bias if mask is None else bias + mask.to(x)
                seen[:, at] = F.scaled_dot_product_attention(
                    q[:, at], k[:, at], v[:, at], attn_mask=score
                ).to(seen.dtype)
        out: Tensor = self.proj(seen.transpose(2, 3).reshape(b, m, n, c))
        return out


class SwinBlock(nn.Module):
    """Windowed attention and an MLP, both residual, both normalised first."""

    def __init__(self, dim: int, num_heads: int, window_size: int, *, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, num_heads, window_size)
        self.norm2 = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, window: Side, shift: Side, index: BiasIndex) -> Tensor:
        """Transform (b, z, y, x, c)."""
        x = x + self.drop_path(self._attend(self.norm1(x), window, shift, index))
        hidden = F.gelu(self.fc1(self.norm2(x)))
        out: Tensor = x + self.drop_path(self.fc2(hidden))
        return out

    def _attend(self, x: Tensor, window: Side, shift: Side, index: BiasIndex) -> Tensor:
        _, d, h, w, _ = x.shape
        # Padded tokens keep weight in the softmax: published weights were trained so.
        x = pad_to_windows(x, window)
        grid = (x.shape[1], x.shape[2], x.shape[3])
        if any(shift):
            x = x.roll((-shift[0], -shift[1], -shift[2]), dims=(1, 2, 3))
        x = self.attn(partition(x, window), grid, window, shift, index)
        x = unpartition(x, window, grid)
        if any(shift):
            x = x.roll(shift, dims=(1, 2, 3))
        return x[:, :d, :h, :w]


class PatchMerging(nn.Module):
    """Halve each side: the eight voxels of a block side by side, then 8c to 2c."""

    def __init__(self, dim: int, merging: Merging) -> None:
        super().__init__()
        self.merging = merging
        self.norm = nn.LayerNorm(8 * dim)
        self.reduction = nn.Linear(8 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Turn (b, z, y, x, c) into (b, z/2, y/2, x/2, 2c); odd sides are padded."""
        x = pad_to_windows(x, (2, 2, 2))
        starts = [[int(axis) for axis in order] for order in MERGING_ORDERS[self.merging]]
        parts = [x[:, start[0] :: 2, start[1] :: 2, start[2] :: 2] for start in starts]
        out: Tensor = self.reduction(self.norm(torch.cat(parts, dim=-1)))
        return out


class Stage(nn.Module):
    """Blocks with alternating shift, then a merging."""

    def __init__(
        self, dim: int, num_heads: int, window_size: int, *, rates: list[float], merging: Merging
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.blocks = nn.ModuleList(
            SwinBlock(dim, num_heads, window_size, drop_path=rate) for rate in rates
        )
        self.downsample = PatchMerging(dim, merging)

    def forward(self, x: Tensor, index: BiasIndex) -> Tensor:
        """Turn (b, z, y, x, c) into (b, z/2, y/2, x/2, 2c)."""
        grid = (x.shape[1], x.shape[2], x.shape[3])
        window, shift = fit_window(grid, window=self.window_size, shift=self.window_size // 2)
        for number, block in enumerate(self.blocks):
            x = block(x, window, shift if number % 2 else (0, 0, 0), index)
        out: Tensor = self.downsample(x)
        return out


class Swin3d(nn.Module):
    """Encoder that turns a volume into feature maps of falling resolution.

    Args:
        embed_dim: Channels of the first map; they double with each stage.
        depths: Blocks in each stage.
        num_heads: Attention heads in each stage.
        window_size: Side of the cubic attention window in tokens.
        patch_size: Voxels on a side of a token.
        drop_path: Stochastic depth of the last block; rises linearly over all blocks.
        merging: Order in which a 2x2x2 block is concatenated; foreign weights need their own.
        bias_index: `exact`, or `monai` for weights whose small maps read a shrunken window's
            bias from the corner of the full index.
    """

    def __init__(  # noqa: PLR0913
        self,
        in_channels: int = 1,
        embed_dim: int = 48,
        depths: tuple[int, ...] = (2, 2, 2, 2),
        num_heads: tuple[int, ...] = (3, 6, 12, 24),
        window_size: int = 7,
        patch_size: int = 2,
        *,
        drop_path: float = 0.0,
        merging: Merging = "1.5",
        bias_index: BiasIndex = "exact",
    ) -> None:
        super().__init__()
        if len(depths) != len(num_heads):
            msg = f"depths {depths} and num_heads {num_heads} must name the same stages"
            raise ValueError(msg)
        self.patch_size = patch_size
        self.bias_index = bias_index
        self.patch_embed = nn.Conv3d(in_channels, embed_dim, patch_size, stride=patch_size)
        rates = torch.linspace(0, drop_path, sum(depths)).tolist()
        self.stages = nn.ModuleList(
            Stage(
                embed_dim * 2**level,
                heads,
                window_size,
                rates=rates[sum(depths[:level]) : sum(depths[: level + 1])],
                merging=merging,
            )
            for level, (_, heads) in enumerate(zip(depths, num_heads, strict=True))
        )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each returned map."""
        first = self.patch_embed.out_channels
        return tuple(first * 2**level for level in range(len(self.stages) + 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return one map per stage and the patch embedding before them.

        Args:
            x: Volume (b, c, z, y, x); sides are padded to whole patches.

        Returns:
            Maps (b, c, z, y, x) of the embedding and of each stage, each with a
            layer norm over channels without weight and bias.
        """
        padded = pad_to_windows(x.movedim(1, -1), (self.patch_size,) * 3).movedim(-1, 1)
        x = self.patch_embed(padded).movedim(1, -1).contiguous()  # (b, z, y, x, c)
        maps = [_normalised(x)]
        for stage in self.stages:
            x = stage(x, self.bias_index)
            maps.append(_normalised(x))
        return maps

    def load_monai(self, state_dict: Mapping[str, Tensor], *, merging: Merging) -> LoadReport:
        """Load weights in a layout that MONAI or its publications use.

        Args:
            merging: The order the weights were trained with. The file does not say,
                and a wrong choice computes something else without a word.

        Returns:
            What matched and what was dropped, by name.

        Raises:
            ValueError: If a tensor of this network is missing or has another shape.
        """
        mapped, report = map_monai_keys(state_dict, self.state_dict())
        self.load_state_dict(mapped)
        self.bias_index = "monai"
        for stage in self.stages:
            stage.downsample.merging = merging  # type: ignore[union-attr]
        return report


def _normalised(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:]).movedim(-1, 1)
