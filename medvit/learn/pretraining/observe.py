"""What people look at during the pretraining of volumes: pictures, and an alarm."""

from __future__ import annotations

import logging
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from medvit.learn.pretraining.views import SslBatch
from medvit.learn.pretraining.volumes import VolumeSslLoss

TIMES_CHANCE = 1.5
"""An encoder that finds fewer pairs than this many times chance counts as collapsed."""

_log = logging.getLogger(__name__)


class Pictures(Callback):
    """After each epoch, puts the same patches into TensorBoard: seen, restored, and as they were.

    Args:
        objective: What is trained.
        batch: The patches; read once, beforehand.
    """

    def __init__(self, objective: VolumeSslLoss, batch: SslBatch) -> None:
        self.objective = objective
        self.batch = batch

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the patches and log the picture."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
                picture = reconstruction_picture(self.objective, self.batch)
                step = trainer.global_step
                logger.experiment.add_image("seen, restored, clean", picture, step)


class Figures(Callback):
    """Keeps the figures of the last whole epoch, and warns of a collapse after a start.

    Fresh weights tell patches hardly apart: the alarm waits.

    Args:
        alarm_from_step: Optimiser steps before the first alarm.
        views: Views in a step; chance finds one pair in `views - 1`.

    Attributes:
        last: By name, as the objective gave them, means over the epoch.
        steps: Optimiser steps at its end.
    """

    def __init__(self, *, alarm_from_step: int, views: int) -> None:
        self.alarm_from_step = alarm_from_step
        self.least_accuracy = TIMES_CHANCE / (views - 1)
        self.last: dict[str, float] = {}
        self.steps = 0

    @property
    def has_collapsed(self) -> bool:
        """Whether patches could not be told apart long after the start."""
        is_low = self.last.get("contrast_accuracy", 1.0) < self.least_accuracy
        return self.steps >= self.alarm_from_step and is_low

    def state_dict(self) -> dict[str, Any]:
        """Keep the figures over an interruption."""
        return {"last": self.last, "steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the figures up again."""
        self.last, self.steps = dict(state_dict["last"]), int(state_dict["steps"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the epoch's figures."""
        self.last = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.steps = trainer.global_step
        if self.has_collapsed:
            _log.warning(
                "collapse: %.1f%% of views find the other view of their patch, less than %.1f%% "
                "after %d steps; lower train.lr, raise train.batch_size or pretrain.temperature",
                100 * self.last["contrast_accuracy"],
                100 * self.least_accuracy,
                self.steps,
            )


@torch.no_grad()
def reconstruction_picture(objective: VolumeSslLoss, batch: SslBatch) -> Tensor:
    """Return middle slices (1, rows, columns) in 0..1: seen, restored and clean, side by side.

    Each patch of the first views is a row.
    """
    net = objective.net
    was_training = net.training
    device = next(net.parameters()).device
    _, _, restored = net.eval()(batch.painted.to(device))
    net.train(was_training)
    count, middle = len(batch.painted) // 2, batch.painted.shape[2] // 2
    columns = [batch.painted, restored.float().cpu(), batch.clean]
    rows = [torch.cat([column[n, 0, middle] for column in columns], dim=1) for n in range(count)]
    return torch.cat(rows, dim=0)[None].clamp(0, 1)
