"""Sparse global attention: one pooled token a window, and all of them see each other.

Letters: b batch, n tokens of the grid, g pooled tokens, c channels, h heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.models.layers.windows import Side


class GlobalTokens(nn.Module):
    """Let windows exchange what they saw: pool, attend globally, hand back through a gate.

    The gate starts at 0, so that a net of windows alone is recovered. As the pooled tokens
    come from the whole tile, this is not for a detector that scores tile by tile.

    Args:
        window: Tokens on a side of what is pooled into one.
    """

    sees_whole_tile = True

    def __init__(self, dim: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.norm = nn.LayerNorm(dim)
        # Zero padding tells the pooled tokens where the borders are (Chu 2021, 2102.10882).
        self.position = nn.Conv3d(dim, dim, 3, padding=1, groups=dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.gate = nn.Parameter(torch.zeros(dim))

    def forward(self, tokens: Tensor, grid: Side) -> Tensor:
        """Return the tokens (b, n, c) of a grid (z, y, x) with what lies far off added."""
        b, _, c = tokens.shape
        maps = self.norm(tokens).transpose(1, 2).unflatten(2, grid)  # (b, c, z, y, x)
        pooled = F.avg_pool3d(maps, self.window, ceil_mode=True, count_include_pad=False)
        pooled = pooled + self.position(pooled)
        coarse = pooled.shape[2:]
        qkv = self.qkv(pooled.flatten(2).transpose(1, 2))  # (b, g, 3c)
        q, k, v = qkv.unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (b, g, c)
        far = self.proj(seen).transpose(1, 2).unflatten(2, coarse)
        spread = self._spread(far, grid).reshape(b, c, -1).transpose(1, 2)
        return (tokens + self.gate * spread).contiguous()

    def _spread(self, far: Tensor, grid: Side) -> Tensor:
        """Give each window's answer to all of its tokens."""
        for axis, length in enumerate(grid):
            far = far.repeat_interleave(self.window, dim=axis + 2).narrow(axis + 2, 0, length)
        return far
