"""Two branches on one grid, mixed by a learned gate at each place and channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medvit.models.layers.channel_norm import ChannelNorm


class GatedFusion(nn.Module):
    """Return `g * first + (1 - g) * second`, with `g` a function of both, both normed.

    Attributes:
        mean_gate: Mean of the gate in the last pass, detached. Stuck at 0 or 1 it says
            that one branch is dead.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first_norm = ChannelNorm(channels)
        self.second_norm = ChannelNorm(channels)
        self.gate = nn.Linear(2 * channels, channels)
        self.mean_gate = torch.tensor(torch.nan)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the mixture of two maps (n, c, h, w).

        Raises:
            ValueError: If they differ in shape.
        """
        if first.shape != second.shape:
            msg = f"branches must share one grid: {tuple(first.shape)}, {tuple(second.shape)}"
            raise ValueError(msg)
        first, second = self.first_norm(first), self.second_norm(second)
        both = torch.cat([first, second], dim=1).movedim(1, -1)  # (n, h, w, 2c)
        gate = self.gate(both).movedim(-1, 1).sigmoid()  # (n, c, h, w)
        self.mean_gate = gate.detach().mean()
        mixed: Tensor = gate * first + (1 - gate) * second
        return mixed
