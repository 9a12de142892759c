"""A row of figures for each epoch, and the weights of the best one on held-out images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.learn.classify import predict_logits


class EpochFigures(Callback):
    """Scores held-out images after each epoch; a resumed training goes on with its rows.

    Args:
        net: The classifier that is trained.
        images: Held-out images, (n, h, w) or (n, h, w, 3); none at all: only losses are kept.
        labels: Class of each (n,).
        best: File for the weights of the epoch of the highest mean recall, of equal ones
            the one with the lower loss.
    """

    def __init__(
        self, net: nn.Module, *, images: NDArray[np.uint8], labels: Tensor, best: Path
    ) -> None:
        self.net = net
        self.images = images
        self.labels = labels
        self.best = best
        self.rows: list[dict[str, float]] = []
        self.best_epoch = 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the row of the epoch; the first of several devices does so alone."""
        if trainer.global_rank:
            return
        row = {
            "epoch": float(trainer.current_epoch + 1),
            "train/loss": float(trainer.callback_metrics["loss"]),
            "lr": max(float(group["lr"]) for group in trainer.optimizers[0].param_groups),
        }
        if len(self.images):
            logits = predict_logits(self.net, self.images)
            pl_module.train()
            row |= held_out_figures(logits, self.labels)
        self.rows.append(row)
        if _rank(row) > max((_rank(other) for other in self.rows[:-1]), default=(-1.0, 0.0)):
            self.best_epoch = int(row["epoch"])
            self.best.parent.mkdir(parents=True, exist_ok=True)
            tensors = {key: value.contiguous() for key, value in self.net.state_dict().items()}
            save_file(tensors, self.best)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows and which was best."""
        return {"rows": self.rows, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the rows of an interrupted training."""
        self.rows = list(state_dict["rows"])
        self.best_epoch = int(state_dict["best_epoch"])


def _rank(row: dict[str, float]) -> tuple[float, float]:
    """Return what the best epoch has most of; without held-out images the last is best."""
    if "metrics/balanced_accuracy" not in row:
        return row["epoch"], 0.0
    return row["metrics/balanced_accuracy"], -row["val/loss"]


def held_out_figures(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Return loss, accuracy and mean recall of logits (n, k).

    Examples:
        >>> found = held_out_figures(torch.eye(2)[[0, 0, 0, 1]] * 9, torch.tensor([0, 0, 1, 1]))
        >>> found["metrics/accuracy"], found["metrics/balanced_accuracy"]
        (0.75, 0.75)
    """
    right = (logits.argmax(1) == labels).double()
    recalls = [float(right[labels == label].mean()) for label in torch.unique(labels)]
    return {
        "val/loss": float(F.cross_entropy(logits, labels)),
        "metrics/accuracy": float(right.mean()),
        "metrics/balanced_accuracy": sum(recalls) / len(recalls),
    }
