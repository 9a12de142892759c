"""Stochastic depth (Huang 2016, arXiv 1603.09382)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Drop a residual branch for whole samples during training; identity otherwise."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate <= 1:
            msg = f"drop path rate must lie in 0..1, got {rate}"
            raise ValueError(msg)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Return the branch (b, ...), zero for dropped samples, rescaled for kept ones."""
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        if keep == 0:
            return torch.zeros_like(x)
        shape = (x.shape[0],) + (1,) * (x.dim() - 1)
        return x * (torch.rand(shape, device=x.device) < keep).to(x.dtype) / keep
