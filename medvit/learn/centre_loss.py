"""Targets and loss of the centre-map detector.

CenterNet (Zhou 2019, arXiv 1904.07850), equations 1 and 2, in 3D.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medvit.models.heads.centre import CentreMaps

SMALLEST_SIGMA_CELLS = 0.7
ALPHA, BETA = 2, 4  # focusing, and relief near a centre


@dataclass(frozen=True, slots=True)
class CentreTargets:
    """What the maps of one batch should say.

    Attributes:
        heat: (n, 1, z, y, x), 1 in the cell of a centre, a Gaussian around it.
        weight: (n, 1, z, y, x), 0 where nothing may be learnt, else 1.
        log_diameter: (n, 1, z, y, x), set where `near` is true.
        offset: (n, 3, z, y, x), set where `near` is true.
        near: (n, 1, z, y, x), cells within one cell of a centre.
    """

    heat: Tensor
    weight: Tensor
    log_diameter: Tensor
    offset: Tensor
    near: Tensor


def centre_targets(
    nodules: Sequence[Tensor],
    ignored: Sequence[Tensor],
    *,
    grid: tuple[int, int, int],
    stride: int,
    spacing_mm: float,
    device: torch.device | None = None,
) -> CentreTargets:
    """Draw targets for a batch.

    Args:
        nodules: Per item (k, 4): centre (z, y, x) in voxels, diameter in mm.
        ignored: Like `nodules`; places where it is unknown what is there.
        grid: Cells of a map.
        stride: Voxels on a side of a cell.
        spacing_mm: Side of a voxel.
        device: Where the targets are wanted; by default on the processor.
    """
    n = len(nodules)
    targets = CentreTargets(
        heat=torch.zeros(n, 1, *grid, device=device),
        weight=torch.ones(n, 1, *grid, device=device),
        log_diameter=torch.zeros(n, 1, *grid, device=device),
        offset=torch.zeros(n, 3, *grid, device=device),
        near=torch.zeros(n, 1, *grid, dtype=torch.bool, device=device),
    )
    sides = (torch.arange(side, dtype=torch.float32, device=device) for side in grid)
    cells = torch.stack(torch.meshgrid(*sides, indexing="ij"))
    cell_mm = stride * spacing_mm
    for item in range(n):
        for *place, diameter_mm in ignored[item].tolist():
            away = _away(cells, place, stride)
            hidden = away.norm(dim=0) <= diameter_mm / 2 / cell_mm + 1
            targets.weight[item, 0].masked_fill_(hidden, 0)
        for *place, diameter_mm in nodules[item].tolist():
            _draw_nodule(targets, item, _away(cells, place, stride), diameter_mm, cell_mm)
    return targets


def _away(cells: Tensor, place: Sequence[float], stride: int) -> Tensor:
    """Return how far each cell is from a place in voxels: (3, z, y, x), in cells."""
    centre = cells.new_tensor([(at + 0.5) / stride - 0.5 for at in place])
    return centre[:, None, None, None] - cells


def _draw_nodule(
    targets: CentreTargets, item: int, away: Tensor, diameter_mm: float, cell_mm: float
) -> None:
    sigma = max(SMALLEST_SIGMA_CELLS, diameter_mm / cell_mm / 6)
    bump = torch.exp(-away.square().sum(0) / (2 * sigma**2))
    home = away.abs().amax(0) <= 0.5
    heat = targets.heat[item, 0]
    torch.maximum(heat, bump, out=heat)
    heat.masked_fill_(home, 1)
    targets.weight[item, 0].masked_fill_(home, 1)
    near = away.abs().amax(0) <= 1.5
    targets.near[item, 0] |= near
    targets.log_diameter[item, 0].masked_fill_(near, math.log(diameter_mm))
    targets.offset[item] = torch.where(near, away, targets.offset[item])


def centre_loss(maps: CentreMaps, targets: CentreTargets) -> dict[str, Tensor]:
    """Return `heat`, `diameter`, `offset` and their sum `loss`.

    Heat is summed over cells and divided by the number of centres (at least 1);
    the others are means over the cells near a centre.
    """
    is_centre = targets.heat == 1
    log_p = F.logsigmoid(maps.heat)
    log_not_p = F.logsigmoid(-maps.heat)
    p = maps.heat.sigmoid()
    found = (1 - p) ** ALPHA * log_p
    rest = (1 - targets.heat) ** BETA * p**ALPHA * log_not_p * targets.weight
    heat = -torch.where(is_centre, found, rest).sum() / is_centre.sum().clamp(min=1)
    near = targets.near.float()
    count = near.sum().clamp(min=1)
    diameter = ((maps.log_diameter - targets.log_diameter).abs() * near).sum() / count
    offset = ((maps.offset - targets.offset).abs() * near).sum() / (3 * count)
    return {
        "heat": heat,
        "diameter": diameter,
        "offset": offset,
        "loss": heat + diameter + offset,
    }
