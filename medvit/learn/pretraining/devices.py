"""Rows of all processes that train together."""

from __future__ import annotations

import torch
import torch.distributed
from torch import Tensor


def rank_and_world() -> tuple[int, int]:
    """Return the number of this process, and how many train together; alone: 0 and 1."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def gathered(rows: Tensor) -> Tensor:
    """Return the rows (n, ...) of all processes, (processes, n, ...).

    Every process then computes the loss of all rows, with a gradient for its own. DDP
    takes the mean over processes where the sum is due, so the gradient is scaled up.
    """
    rank, world = rank_and_world()
    if world == 1:
        return rows[None]
    others = [torch.empty_like(rows) for _ in range(world)]
    torch.distributed.all_gather(others, rows.detach())
    if rows.requires_grad:
        others[rank] = rows * world - rows.detach() * (world - 1)
    return torch.stack(others)


def gathered_rows(rows: Tensor) -> Tensor:
    """Return the rows of all processes one after another, in the order of their ranks."""
    return gathered(rows).flatten(0, 1)
