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

from medvit.models.layers.global_tokens import GlobalTokens
from medvit.models.layers.residual_stage import ResidualEntry
from medvit.models.layers.swin_block import Padding, SwinBlock, layer_norm
from medvit.models.layers.variant import PLAIN, Variant
from medvit.models.layers.windows import cut_grid, pad_to_multiple
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


class PatchMerging(nn.Module):
    """Halve each side: the eight voxels of a block side by side, then 8c to 2c."""

    def __init__(self, dim: int, merging: Merging) -> None:
        super().__init__()
        self.merging = merging
        self.norm = nn.LayerNorm(8 * dim)
        self.reduction = nn.Linear(8 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Turn (b, z, y, x, c) into (b, z/2, y/2, x/2, 2c); odd sides are padded."""
        x = pad_to_multiple(x, 2)
        starts = [[int(axis) for axis in order] for order in MERGING_ORDERS[self.merging]]
        parts = [x[:, start[0] :: 2, start[1] :: 2, start[2] :: 2] for start in starts]
        out: Tensor = self.reduction(self.norm(torch.cat(parts, dim=-1)))
        return out


class Stage(nn.Module):
    """Blocks with alternating shift, then a merging."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window_size: int,
        *,
        rates: list[float],
        merging: Merging,
        variant: Variant = PLAIN,
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.variant = variant
        self.entry = ResidualEntry(dim, variant.entry) if variant.entry else None
        self.contexts = nn.ModuleList(
            GlobalTokens(dim, num_heads, window_size) for _ in rates if variant.global_tokens
        )
        self.blocks = nn.ModuleList(
            SwinBlock(dim, num_heads, window_size, drop_path=rate) for rate in rates
        )
        self.downsample = PatchMerging(dim, merging)

    def forward(self, x: Tensor, level: int, index: BiasIndex, padding: Padding) -> Tensor:
        """Turn (b, z, y, x, c) into (b, z/2, y/2, x/2, 2c); may overwrite it."""
        x = x if self.entry is None else self.entry(x)
        grid = (x.shape[1], x.shape[2], x.shape[3])
        tokens = x.flatten(1, 3)
        for number, block in enumerate(self.blocks):
            kinds = cut_grid(
                grid,
                *self.variant.window_of(number, level, grid=grid, side=self.window_size),
                table_side=self.window_size,
                exact=index == "exact",
                device=x.device,
            )
            tokens = block(tokens, kinds, padding)
            if self.contexts:
                tokens = self.contexts[number](tokens, grid)
        out: Tensor = self.downsample(tokens.view(x.shape))
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
        padding: `masked`, or `monai` for weights that let padded tokens keep weight in the
            softmax of border windows.
        variant: What stages do besides cubic windows, the same in all of them.
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
        padding: Padding = "masked",
        variant: Variant = PLAIN,
    ) -> None:
        super().__init__()
        if len(depths) != len(num_heads) or not depths:
            msg = f"depths {depths} and num_heads {num_heads} must name the same stages"
            raise ValueError(msg)
        if window_size < 2 or patch_size < 1:
            found = f"{window_size} and {patch_size}"
            msg = f"a window needs 2 tokens a side and a patch 1 voxel, got {found}"
            raise ValueError(msg)
        self.window_size = window_size
        self.patch_size = patch_size
        self.bias_index = bias_index
        self.padding = padding
        self.patch_embed = nn.Conv3d(in_channels, embed_dim, patch_size, stride=patch_size)
        rates = torch.linspace(0, drop_path, sum(depths)).tolist()
        self.stages = nn.ModuleList(
            Stage(
                embed_dim * 2**level,
                heads,
                window_size,
                rates=rates[sum(depths[:level]) : sum(depths[: level + 1])],
                merging=merging,
                variant=variant,
            )
            for level, (_, heads) in enumerate(zip(depths, num_heads, strict=True))
        )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each returned map."""
        first = self.patch_embed.out_channels
        return tuple(first * 2**level for level in range(len(self.stages) + 1))

    @property
    def smallest_side(self) -> int:
        """Voxels that a side must have: a window at first, a token in the last stage."""
        return self.patch_size * max(self.window_size, 1 << (len(self.stages) - 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return one map per stage and the patch embedding before them.

        Args:
            x: Volume (b, c, z, y, x); sides are padded to whole patches.

        Returns:
            Maps (b, c, z, y, x) of the embedding and of each stage, each with a
            layer norm over channels without weight and bias. On a CPU and without
            gradients a volume's maps are the same to the bit in any batch.

        Raises:
            ValueError: If the shape is not one for this network, or (on a CPU) a voxel
                is not finite.
        """
        self._check(x)
        if x.device.type == "cpu" and not (torch.is_grad_enabled() or _is_traced()):
            alone = [self._maps(volume) for volume in torch.split(x, 1)]
            return [
                level[0] if len(level) == 1 else torch.cat(level)
                for level in zip(*alone, strict=True)
            ]
        return self._maps(x)

    def _maps(self, x: Tensor) -> list[Tensor]:
        padded = pad_to_multiple(x.movedim(1, -1), self.patch_size).movedim(-1, 1)
        x = self.patch_embed(padded).movedim(1, -1).contiguous()  # (b, z, y, x, c)
        maps = [_normalised(x)]
        for level, stage in enumerate(self.stages):
            x = stage(x, level, self.bias_index, self.padding)
            maps.append(_normalised(x))
        return maps

    def _check(self, x: Tensor) -> None:
        channels = self.patch_embed.in_channels
        if x.dim() != 5 or x.shape[1] != channels:
            msg = f"a volume must be (b, {channels}, z, y, x), got {tuple(x.shape)}"
            raise ValueError(msg)
        if min(x.shape[2:]) < self.smallest_side:
            msg = (
                f"sides must be at least {self.smallest_side} voxels for a window of "
                f"{self.window_size} tokens and {len(self.stages)} stages, got {tuple(x.shape[2:])}"
            )
            raise ValueError(msg)
        if x.device.type == "cpu" and not _is_traced() and not torch.isfinite(x.sum()):
            wrong = int((~torch.isfinite(x)).sum())
            msg = f"every voxel must be finite, but {wrong} of {x.numel()} are not"
            raise ValueError(msg)

    def follow_monai(self, merging: Merging) -> None:
        """Compute as MONAI does, as foreign weights want it: set this before loading them anew.

        Raises:
            ValueError: If there is no such order of merging.
        """
        if merging not in MERGING_ORDERS:
            msg = f"merging must be one of {', '.join(MERGING_ORDERS)}, got {merging!r}"
            raise ValueError(msg)
        self.bias_index = "monai"
        self.padding = "monai"
        for stage in self.stages:
            stage.downsample.merging = merging  # type: ignore[union-attr]

    def load_monai(
        self, state_dict: Mapping[str, Tensor], *, merging: Merging, allow_partial: bool = False
    ) -> LoadReport:
        """Load weights in a layout that MONAI or its publications use.

        Args:
            merging: The order the weights were trained with. The file does not say,
                and a wrong choice computes something else without a word.
            allow_partial: Let entries that the file lacks keep their values.

        Returns:
            What matched and what was dropped, by name.

        Raises:
            ValueError: If a tensor of this network is missing or has another shape.
        """
        mapped, report = map_monai_keys(state_dict, self.state_dict(), allow_partial=allow_partial)
        self.follow_monai(merging)
        self.load_state_dict(mapped)
        return report


def _normalised(x: Tensor) -> Tensor:
    return layer_norm(x).movedim(-1, 1)


def _is_traced() -> bool:
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
