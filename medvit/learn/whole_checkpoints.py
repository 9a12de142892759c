"""Checkpoints of a training that a crash or a full disk leaves whole: the last one, or the new one.

Lightning writes one into the folder of temporary files and moves it. From another disk that is a
copy onto the last one, and where it ends half-way the training could never go on. And it writes
the figures of an epoch after its checkpoint: killed in between, nobody would ever learn them.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from medvit import atomic
from medvit.learn.metrics_table import MetricsTable


class WholeCheckpoints(TorchCheckpointIO):
    """Replaces a checkpoint in its own folder, at once."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: Any | None = None,
    ) -> None:
        """Write a checkpoint, and wait until it is on the disk.

        Raises:
            OSError: If the disk is full; the last checkpoint stays.
            ValueError: If options are given, for a local file has none.
        """
        if storage_options is not None:
            msg = f"a checkpoint on a local disk takes no options, got {storage_options!r}"
            raise ValueError(msg)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(Path(path), content.getvalue())


class CheckpointAfterFigures(ModelCheckpoint):
    """Saves an epoch once its figures are in the table, which Lightning fills again later.

    Args:
        folder: Receives `last.ckpt`.
        table: Where the figures go first.
    """

    def __init__(self, folder: Path, table: MetricsTable) -> None:
        super().__init__(
            folder,
            filename="last",
            save_top_k=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        self.table = table

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the figures of other epochs, for not every figure is taken in each."""
        trainer.callback_metrics.clear()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the row of the epoch, then the checkpoint."""
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        row = {"epoch": trainer.current_epoch, **figures}
        self.table.log_metrics(row, step=trainer.global_step - 1)
        super().on_train_epoch_end(trainer, pl_module)
