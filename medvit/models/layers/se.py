"""Channel gates of convolutional blocks (squeeze and excitation, Hu 2017, arXiv 1709.01507)."""

from __future__ import annotations

from torch import Tensor, nn

LEAST_HIDDEN = 8


class ChannelGate(nn.Module):
    """Scale each channel by a share 0..1 that the mean of all channels decides."""

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(LEAST_HIDDEN, channels // reduction)
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, c, h, w), gated."""
        pooled = x.mean(dim=(2, 3))  # (n, c)
        gate = self.excite(self.squeeze(pooled).relu()).sigmoid()
        gated: Tensor = x * gate[:, :, None, None]
        return gated
