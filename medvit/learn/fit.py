"""The training loop: a thin wrapper of Lightning that resumes, logs and ends on time."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

Precision = Literal["32-true", "bf16-mixed"]
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How long and how fast to train.

    Attributes:
        epochs: Passes over the data.
        lr: Peak learning rate of AdamW.
        weight_decay: Not applied to vectors: biases and norms.
        warmup_epochs: Linear rise of the learning rate; a half cosine to 0 follows.
        max_minutes: Wall time, that before a resumption included, after which training
            ends cleanly; None for no limit.
        seed: Seeds dropout and stochastic depth anew at each step.
        precision: `bf16-mixed` computes products in bfloat16.
        clip_norm: Gradients are scaled down to this norm.
    """

    epochs: int
    lr: float
    weight_decay: float = 0.05
    warmup_epochs: float = 2.0
    max_minutes: float | None = None
    seed: int = 0
    precision: Precision = "32-true"
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.lr <= 0:
            msg = f"epochs must be at least 1 and lr positive, got {self.epochs} and {self.lr}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What a progress callback is told after each epoch; epochs count from 1."""

    epoch: int
    epochs: int
    loss: float
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class FitResult:
    """How a training ended.

    Attributes:
        epochs: Whole epochs, those before a resumption included.
        cut_short: Whether `max_minutes` ended it.
        loss: Mean loss of the last epoch.
        seconds: Wall time, that before a resumption included.
        device: What it ran on, `cpu` or `cuda`.
    """

    epochs: int
    cut_short: bool
    loss: float
    seconds: float
    device: str


Progress = Callable[[EpochReport], None]


def lr_scale(step: int, *, warmup: int, total: int) -> float:
    """Return the share of the peak learning rate at a step (Goyal 2017, 1706.02677).

    Examples:
        >>> [round(lr_scale(s, warmup=2, total=6), 3) for s in (0, 1, 2, 4, 6)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    share = min(1.0, (step - warmup) / max(1, total - warmup))
    return 0.5 * (1.0 + math.cos(math.pi * share))


def parameter_groups(module: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Return two groups for an optimiser: vectors are not decayed, the rest is."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def fit(
    objective: nn.Module,
    batches: DataLoader[Any],
    *,
    settings: FitSettings,
    folder: Path,
    progress: Progress | None = None,
) -> FitResult:
    """Train all parameters of an objective, in place.

    A run that was interrupted goes on from the last whole epoch when it is called
    again with the same folder. The global random state is put back afterwards.

    Args:
        objective: Takes a batch and returns the loss, a scalar; holds the network.
        batches: Its sampler may have `set_epoch(epoch)`, which is then called.
        folder: Receives `checkpoints/last.ckpt`, `metrics.csv` and TensorBoard events.
        progress: Called after each epoch.
    """
    steps = settings.epochs * len(batches)
    if steps == 0:
        msg = f"a training needs at least one batch an epoch, got 0 (batch {batches.batch_size})"
        raise ValueError(msg)
    task = _Task(objective, settings=settings, steps=steps)
    watch = _Watch(settings, progress=progress)
    trainer = _trainer(settings, folder=folder, watch=watch)
    last = folder / CHECKPOINTS / "last.ckpt"
    with torch.random.fork_rng(), _quiet(), _interrupts():
        resume = last if last.is_file() else None
        trainer.fit(task, batches, ckpt_path=resume, weights_only=True)
    return watch.result(trainer)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # Views are drawn from images in memory: worker processes would only cost.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # A resumed run writes where it wrote before.
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        # Lightning 2.6 asks torch 2.13 by an old name.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        yield


@contextmanager
def _interrupts() -> Iterator[None]:
    """Let Ctrl+C through: Lightning turns it into exit code 1 and then ignores it."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from error


class _Task(LightningModule):
    """What Lightning asks of a training."""

    def __init__(self, objective: nn.Module, *, settings: FitSettings, steps: int) -> None:
        super().__init__()
        self.objective = objective
        self.fit_settings = settings
        self.steps = steps

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """Return the loss of a batch."""
        del batch_index
        loss: Tensor = self.objective(batch)
        self.log("loss", loss.detach(), on_step=False, on_epoch=True, batch_size=1)
        return loss

    def configure_optimizers(self) -> Any:
        """Return AdamW with a schedule that is counted in steps."""
        settings = self.fit_settings
        groups = parameter_groups(self.objective, weight_decay=settings.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=settings.lr)
        warmup = round(settings.warmup_epochs * self.steps / settings.epochs)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: lr_scale(step, warmup=warmup, total=self.steps)
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


class _Watch(Callback):
    """Seeds each step, reports each epoch, and ends the training when its time is up."""

    def __init__(self, settings: FitSettings, *, progress: Progress | None) -> None:
        self.settings = settings
        self.progress = progress
        self.started_s = time.monotonic()
        self.earlier_s = 0.0
        self.cut_short = False

    @property
    def elapsed_s(self) -> float:
        return self.earlier_s + time.monotonic() - self.started_s

    def state_dict(self) -> dict[str, Any]:
        return {"elapsed_s": self.elapsed_s}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.earlier_s = float(state_dict["elapsed_s"])

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        torch.manual_seed(self.settings.seed * 1_000_003 + trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        limit = self.settings.max_minutes
        steps_left = trainer.global_step < trainer.estimated_stepping_batches
        if limit is not None and steps_left and self.elapsed_s > limit * 60:
            self.cut_short = trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.progress is not None:
            epoch = trainer.current_epoch + 1
            loss = _loss(trainer)
            self.progress(EpochReport(epoch, self.settings.epochs, loss, self.elapsed_s))

    def result(self, trainer: Trainer) -> FitResult:
        device = trainer.strategy.root_device.type
        epochs = trainer.global_step // max(1, int(trainer.num_training_batches))
        return FitResult(epochs, self.cut_short, _loss(trainer), self.elapsed_s, device)


def _loss(trainer: Trainer) -> float:
    return float(trainer.callback_metrics.get("loss", torch.tensor(math.nan)))


def _trainer(settings: FitSettings, *, folder: Path, watch: _Watch) -> Trainer:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    checkpoint = ModelCheckpoint(
        folder / CHECKPOINTS,
        filename="last",
        save_top_k=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    return Trainer(
        max_epochs=settings.epochs,
        devices=1,
        precision=settings.precision,
        gradient_clip_val=settings.clip_norm,
        callbacks=[watch, checkpoint],
        logger=[
            CSVLogger(folder, name="", version=""),
            TensorBoardLogger(folder, name="", version="tensorboard"),
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        default_root_dir=folder,
    )
