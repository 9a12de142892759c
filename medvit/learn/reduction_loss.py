"""What the second look at candidates is trained for: nodule or not, candidate by candidate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medvit.models.heads.reduction import Cells

ALPHA = 2
"""Focusing, as in `centre_loss`: candidates that are clear already count for little."""

MOST_A_CROP = 16


def training_candidates(heat: Tensor, nodules: Sequence[Tensor], *, stride: int) -> Cells:
    """Return the highest peaks of each crop, and the cells of its nodules, once each.

    Args:
        heat: (n, 1, z, y, x).
        nodules: Per crop (k, 4): centre (z, y, x) in voxels, diameter in mm.
        stride: Voxels on a side of a cell.
    """
    heat = heat.detach()
    peaks = heat.where(heat == F.max_pool3d(heat, 3, stride=1, padding=1), -torch.inf)
    most = min(MOST_A_CROP, peaks[0].numel())
    logits, places = peaks.flatten(1).topk(most)
    items, ranks = torch.isfinite(logits).nonzero().unbind(1)
    found = torch.unravel_index(places[items, ranks], heat.shape[2:])
    cells = [torch.stack([items, *found], dim=1)]
    last = torch.tensor(heat.shape[2:], device=heat.device) - 1
    for item, rows in enumerate(nodules):
        home = (rows[:, :3].to(heat.device) + 0.5).div(stride, rounding_mode="floor").long()
        inside = ((home >= 0) & (home <= last)).all(dim=1)
        cells.append(F.pad(home[inside], (1, 0), value=item))
    once: Tensor = torch.cat(cells).unique(dim=0)  # type: ignore[no-untyped-call]
    return once


def candidate_labels(
    cells: Cells,
    nodules: Sequence[Tensor],
    ignored: Sequence[Tensor],
    *,
    stride: int,
    spacing_mm: float,
) -> Tensor:
    """Return 1 for candidates in a nodule, 0 for those away from all, -1 where it is unclear.

    A candidate is in a nodule when it is nearer to its centre than its radius, or than a
    cell's side; it is away from it beyond two sides more than its radius.

    Args:
        cells: Shape (k, 4).
        nodules: Per crop (k, 4): centre (z, y, x) in voxels, diameter in mm.
        ignored: Likewise; near them nothing is clear.
        stride: Voxels on a side of a cell.
        spacing_mm: Side of a voxel.
    """
    cell_mm = stride * spacing_mm
    labels = torch.zeros(len(cells), device=cells.device)
    places = (cells[:, 1:] + 0.5) * stride - 0.5
    for item in range(len(nodules)):
        mine = cells[:, 0] == item
        for rows, is_known in ((ignored[item], False), (nodules[item], True)):
            for *centre, diameter_mm in rows.tolist():
                away_mm = (places - places.new_tensor(centre)).norm(dim=1) * spacing_mm
                near = mine & (away_mm <= diameter_mm / 2 + 2 * cell_mm)
                hit = mine & (away_mm < max(diameter_mm / 2, cell_mm))
                labels[near & (labels < 1)] = -1
                if is_known:
                    labels[hit] = 1
    return labels


def reduction_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the focal loss of candidates, summed and divided by the nodules among them.

    Args:
        logits: Shape (k,), of the score that a scan would report.
        labels: As `candidate_labels` gives them.
    """
    p = logits.sigmoid()
    found = (1 - p) ** ALPHA * F.logsigmoid(logits)
    passed = p**ALPHA * F.logsigmoid(-logits)
    is_nodule = labels == 1
    cost = torch.where(is_nodule, found, passed) * (labels >= 0)
    return -cost.sum() / is_nodule.sum().clamp(min=1)
