"""After each epoch the detector looks at plain lung; what it marks there, it is shown again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
import torch.distributed
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medvit.data.false_marks import FalseMarks, MinedDraws, Rows
from medvit.data.nodule_items import Lookout, NoduleCrops
from medvit.learn.nodules import NoduleObjective
from medvit.learn.weight_average import averaged

BATCH = 4
MOST_A_CROP = 4
RIM_VOXELS = 8
"""Nearer to the rim of a crop too little is seen to say that a mark is wrong."""
MARGIN_MM = 4.0
LEAST_PROBABILITY = 0.02


class HardNegatives(Callback):
    """Fills a bank of false marks; the averaged weights look, where there are some.

    Several processes share the looking and end with the same bank.

    Args:
        crops: What the training draws from.
        draws: Its sampler, which holds the bank.
        lookouts: Crops without anything put in that are looked at after each epoch.
    """

    def __init__(self, crops: NoduleCrops, draws: MinedDraws, *, lookouts: int) -> None:
        self.crops = crops
        self.draws = draws
        self.lookouts = lookouts

    @property
    def marks(self) -> FalseMarks:
        """The bank."""
        return self.draws.marks

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return self.marks.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.marks.load_state_dict(state_dict)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look for false marks with what has been learnt, for the epoch to come."""
        following = trainer.current_epoch + 1
        if following >= self.draws.epochs:
            return
        phase = self.draws.phase_at(following)
        first = following * self.lookouts
        numbers = range(first + trainer.global_rank, first + self.lookouts, trainer.world_size)
        objective = cast("NoduleObjective", pl_module.objective)
        pl_module.eval()
        with averaged(trainer, pl_module), torch.no_grad():
            found = [np.zeros((0, 5))]
            for place in range(0, len(numbers), BATCH):
                group = numbers[place : place + BATCH]
                crops = [self.crops.untouched(phase, number) for number in group]
                pixels = torch.stack([crop.pixels for crop in crops]).to(pl_module.device)
                with trainer.precision_plugin.forward_context():
                    heat = objective.detector(pixels).heat
                found += _false_marks(heat.float().cpu(), crops, objective.detector.stride)
        pl_module.train()
        self.marks.add(phase, _of_all(np.concatenate(found), pl_module.device))
        pl_module.log("false_marks", float(len(self.marks.rows)), sync_dist=False)


def _false_marks(heat: Tensor, crops: Sequence[Lookout], stride: int) -> list[Rows]:
    """Return the highest peaks of each crop that lie away from its rim and from what is known."""
    peaks = heat.where(heat == F.max_pool3d(heat, 3, stride=1, padding=1), -torch.inf)
    rim = RIM_VOXELS // stride
    inner = peaks[:, 0, rim:-rim, rim:-rim, rim:-rim]
    found = []
    for crop, here in zip(crops, inner, strict=True):
        logits, places = here.flatten().topk(MOST_A_CROP)
        cells = np.stack(np.unravel_index(places.numpy(), here.shape), axis=1) + rim
        voxels = (cells + 0.5) * stride - 0.5
        scores = logits.sigmoid().numpy().astype(np.float64)
        wrong = (scores >= LEAST_PROBABILITY) & _is_away(voxels, crop)
        rows = np.column_stack([np.full(len(cells), crop.background), voxels + crop.start, scores])
        found.append(rows[wrong])
    return found


def _is_away(voxels: Rows, crop: Lookout) -> Any:
    reach = (crop.known[:, 3] / 2 + MARGIN_MM) / crop.spacing_mm
    away = np.linalg.norm(voxels[:, None] - crop.known[None, :, :3], axis=2)
    return (away > reach).all(axis=1)


def _of_all(rows: Rows, device: torch.device) -> Rows:
    """Return the rows that all processes found together."""
    if not torch.distributed.is_initialized():
        return rows
    world = torch.distributed.get_world_size()
    counts = [torch.zeros(1, dtype=torch.long, device=device) for _ in range(world)]
    torch.distributed.all_gather(counts, torch.tensor([len(rows)], device=device))
    most = max(int(count) for count in counts)
    mine = torch.zeros(most, rows.shape[1], dtype=torch.float64, device=device)
    mine[: len(rows)] = torch.from_numpy(rows)
    theirs = [torch.zeros_like(mine) for _ in range(world)]
    torch.distributed.all_gather(theirs, mine)
    kept = [each[: int(count)] for each, count in zip(theirs, counts, strict=True)]
    return torch.cat(kept).cpu().numpy()
