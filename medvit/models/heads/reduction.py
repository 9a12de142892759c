"""A second look at each candidate of a detector, on features that the detector has anyway.

The false-positive reduction stage of two-stage nodule detectors (Dou 2016, IEEE TBME 64(7):
context of several sizes around a candidate), on a pyramid instead of on crops of the scan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

LEAST_LOGIT = math.log(0.02 / 0.98)
"""Peaks below it are no candidates; a scan reports nothing so improbable."""

MOST_LEVELS = 3
SIDE = 3
"""Cells around a candidate that are looked at on each level."""

Cells = Tensor
"""Shape (k, 4), int64: item of the batch, and cell (z, y, x) of the finest map."""


class Reduction(nn.Module):
    """Says of each candidate how much its logit should change.

    Args:
        width: Channels of the pyramid.
        levels: Maps of the pyramid; the finest ones are looked at, `MOST_LEVELS` at most.
    """

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        inputs = SIDE**3 * width
        self.views = nn.ModuleList(
            nn.Linear(inputs, 2 * width) for _ in range(min(levels, MOST_LEVELS))
        )
        self.verdict = nn.Sequential(
            nn.GELU(), nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 1)
        )
        nn.init.zeros_(self.verdict[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.verdict[-1].bias)  # type: ignore[arg-type]

    def forward(self, pyramid: Sequence[Tensor], cells: Cells) -> Tensor:
        """Return corrections (k,) of logits.

        Args:
            pyramid: Maps (n, width, z, y, x), the finest first, each half as fine as the last.
            cells: Candidates.
        """
        seen = [
            view(around(pyramid[level], cells, level=level))
            for level, view in enumerate(self.views)
        ]
        out: Tensor = self.verdict(torch.stack(seen).sum(0))[:, 0]
        return out.float()

    def rescore(self, heat: Tensor, pyramid: Sequence[Tensor]) -> Tensor:
        """Return a heat map (n, 1, z, y, x) in which the candidates have their new logits.

        A candidate takes its neighbours along, so that it stays a peak or none of them is
        one. What is no candidate's neighbour falls to `LEAST_LOGIT` or stays below.
        """
        cells = candidates(heat)
        correction, near = torch.zeros_like(heat), torch.zeros_like(heat)
        item, z, y, x = cells.unbind(1)
        correction[item, 0, z, y, x] = self(pyramid, cells)
        near[item, 0, z, y, x] = 1
        shares = F.avg_pool3d(near, 3, stride=1, padding=1)
        mean = F.avg_pool3d(correction, 3, stride=1, padding=1) / shares.clamp(min=1e-6)
        return torch.where(shares > 0, heat + mean, heat.clamp(max=LEAST_LOGIT))


def candidates(heat: Tensor) -> Cells:
    """Return the cells of heat (n, 1, z, y, x) that no neighbour exceeds, in their order."""
    is_peak = (heat == F.max_pool3d(heat, 3, stride=1, padding=1)) & (heat >= LEAST_LOGIT)
    return is_peak[:, 0].nonzero()


def around(features: Tensor, cells: Cells, *, level: int) -> Tensor:
    """Return the features of the cells around candidates: (k, 27 * channels).

    Args:
        features: Map (n, channels, z, y, x) of a level; beyond its ends it is 0.
        cells: On level 0; a cell of level l holds 2**l of them on a side.
        level: Of the map.
    """
    steps = torch.arange(SIDE, device=cells.device)
    offsets = torch.cartesian_prod(steps, steps, steps)  # (27, 3), of the padded map
    z, y, x = ((cells[:, 1:] >> level)[:, None] + offsets).unbind(2)  # (k, 27) each
    padded = F.pad(features, (1, 1, 1, 1, 1, 1)).movedim(1, -1)
    return padded[cells[:, :1], z, y, x].flatten(1)
