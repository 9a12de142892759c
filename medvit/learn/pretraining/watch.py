"""What people look at during the pretraining of images, and what stops it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.learn.pretraining.attention import attention_picture
from medvit.learn.pretraining.collapse import EmbeddingHealth, embedding_health
from medvit.learn.pretraining.nearest import nearest_accuracy
from medvit.learn.pretraining.surface_views import GREY_LEVELS
from medvit.models.backbone import Backbone2d

BATCH = 64
PICTURED = 6
ALARM_STEPS = 100
"""Optimiser steps before which fresh embeddings may be all alike, and that is no collapse."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Labelled images that the features are asked about; the loss never sees a label.

    Attributes:
        images: Grey (n, side, side), uint8.
        labels: Class indices (n,).
        groups: A number for what each was taken of, (n,).
        every: Epochs between two probes.
        neighbours: That vote.
    """

    images: NDArray[np.uint8]
    labels: Tensor
    groups: Tensor
    every: int = 5
    neighbours: int = 10


class PretrainingWatch(Callback):
    """After each epoch: are embeddings healthy, what do neighbours say, where does it look.

    Args:
        backbone: What is pretrained.
        embed: What the loss compares, (n, d) of images (n, 1, side, side).
        images: A few training images, grey (n, side, side), uint8.
        side_px: Side at which they are looked at.
        folder: Receives `attention.png`.
        probe: Labelled images, if there are any.

    Attributes:
        stop_on_collapse: End the training instead of warning.
        alarm_from_step: Optimiser steps before the first alarm.
        rows: Figures of each epoch, by name.
        health: Of the last epoch.
        collapsed_at: The epoch that ended the training; 0 for none.
    """

    def __init__(
        self,
        backbone: Backbone2d,
        embed: Callable[[Tensor], Tensor],
        images: NDArray[np.uint8],
        *,
        side_px: int,
        folder: Path,
        probe: Probe | None = None,
    ) -> None:
        self.backbone = backbone
        self.embed = embed
        self.images = as_batch(images, side_px=side_px)
        self.side_px = side_px
        self.folder = folder
        self.probe = probe
        self.stop_on_collapse = False
        self.alarm_from_step = ALARM_STEPS
        self.rows: list[dict[str, float]] = []
        self.health: EmbeddingHealth | None = None
        self.collapsed_at = 0

    def state_dict(self) -> dict[str, Any]:
        """Keep the figures over an interruption."""
        return {"rows": self.rows, "collapsed_at": self.collapsed_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the figures up again."""
        self.rows = [dict(row) for row in state_dict["rows"]]
        self.collapsed_at = int(state_dict["collapsed_at"])
        if self.rows:
            last = self.rows[-1]
            self.health = EmbeddingHealth(last["spread"], last["rank"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, log, and raise the alarm."""
        epoch = trainer.current_epoch + 1
        device = pl_module.device
        self.health = self._health(pl_module, device)
        row = {
            "epoch": float(epoch),
            "loss": float(trainer.callback_metrics["loss"]),
            "spread": self.health.spread,
            "rank": self.health.rank,
        }
        is_last = epoch == trainer.max_epochs or trainer.should_stop
        if self.probe is not None and (epoch % self.probe.every == 0 or is_last):
            row["neighbours_right"] = self._ask(self.probe, device)
        self.rows.append(row)
        self._log(trainer, row, picture=is_last or (epoch & (epoch - 1)) == 0)
        if trainer.global_step >= self.alarm_from_step and self.health.has_collapsed:
            _log.warning("%s", self.health.sentence())
            if self.stop_on_collapse:
                self.collapsed_at = epoch
                trainer.should_stop = True

    def _health(self, module: nn.Module, device: torch.device) -> EmbeddingHealth:
        was_training = module.training
        module.eval()
        with torch.no_grad():
            embeddings = torch.cat([self.embed(x.to(device)) for x in self.images.split(BATCH)])  # type: ignore[no-untyped-call]
        module.train(was_training)
        return embedding_health(embeddings.float().cpu())

    def _ask(self, probe: Probe, device: torch.device) -> float:
        features = grid_means(self.backbone, probe.images, side_px=self.side_px, device=device)
        return nearest_accuracy(features, probe.labels, probe.groups, neighbours=probe.neighbours)

    def _log(self, trainer: Trainer, row: dict[str, float], *, picture: bool) -> None:
        if not trainer.is_global_zero:
            return
        figures = {name: value for name, value in row.items() if name not in ("epoch", "loss")}
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=trainer.global_step)
        if not picture:
            return
        device = next(self.backbone.parameters()).device
        apart = max(1, len(self.images) // PICTURED)  # lists are often sorted by class
        shown = self.images[::apart][:PICTURED]
        drawn = attention_picture(self.backbone, shown.to(device))
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                step = trainer.global_step
                logger.experiment.add_image("images and attention", drawn, step)
        levels = (drawn[0].clamp(0, 1) * GREY_LEVELS).byte().numpy()
        Image.fromarray(levels).save(self.folder / "attention.png")


def as_batch(images: NDArray[np.uint8], *, side_px: int) -> Tensor:
    """Return grey images (n, h, w), uint8, as (n, 1, side, side) in 0..1, float32."""
    grey = torch.from_numpy(np.ascontiguousarray(images))[:, None].float() / GREY_LEVELS
    if grey.shape[-1] == side_px:
        return grey
    return F.interpolate(
        grey, size=(side_px, side_px), mode="bilinear", antialias=True, align_corners=False
    )


@torch.no_grad()
def grid_means(
    backbone: Backbone2d,
    images: NDArray[np.uint8],
    *,
    side_px: int,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return the mean of the grid of features (n, d) of grey images, in evaluation mode."""
    was_training = backbone.training
    backbone.eval()
    parts = [
        backbone(as_batch(images[start : start + BATCH], side_px=side_px).to(device))
        .mean(dim=(2, 3))
        .float()
        .cpu()
        for start in range(0, len(images), BATCH)
    ]
    backbone.train(was_training)
    return torch.cat(parts)
