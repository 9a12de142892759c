"""The training loop: a thin wrapper of Lightning that resumes, logs and ends on time."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from medvit.errors import ConfigError
from medvit.learn.metrics_table import MetricsTable
from medvit.learn.weight_average import WeightAverage
from medvit.learn.whole_checkpoints import CheckpointAfterFigures, WholeCheckpoints
from medvit.models.layers.memory_order import channels_last, rows_last

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
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
        precision: `bf16-mixed` computes products in bfloat16, `16-mixed` in float16 with
            scaled losses, which only a GPU does.
        clip_norm: Gradients are scaled down to this norm.
        devices: Processes that train together, each on a device of its own; a batch is
            then a batch on each.
        ema_decay: The objective ends with a running mean of its weights that keeps this
            share at each step; None: with its last weights.
    """

    epochs: int
    lr: float
    weight_decay: float = 0.05
    warmup_epochs: float = 2.0
    max_minutes: float | None = None
    seed: int = 0
    precision: Precision = "32-true"
    clip_norm: float = 1.0
    devices: int = 1
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.lr <= 0:
            msg = f"epochs must be at least 1 and lr positive, got {self.epochs} and {self.lr}"
            raise ValueError(msg)
        if self.devices < 1:
            msg = f"a training needs at least one device, got {self.devices}"
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


@runtime_checkable
class Follower(Protocol):
    """A progress callback that reads in the folder of the training, too."""

    def __call__(self, report: EpochReport) -> None:
        """Take the report of an epoch."""

    def look(self, folder: Path) -> None:
        """Read: a training begins, or the figures of an epoch and its weights were written."""


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
    """Return groups for an optimiser: the module's own, or vectors, not decayed, and the rest."""
    if own := getattr(module, "parameter_groups", None):
        return list(own(weight_decay=weight_decay))
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
    observers: Sequence[Callback] = (),
) -> FitResult:
    """Train all parameters of an objective, in place.

    A run that was interrupted goes on from the last whole epoch when it is called
    again with the same folder. The global random state is put back afterwards.

    Args:
        objective: Takes a batch and returns the loss, a scalar, or scalars by name with
            `loss` among them, which are all logged; holds the network.
        batches: Its sampler may have `set_epoch(epoch)`, which is then called. Where several
            devices train, the sampler itself gives each its part.
        folder: Receives `checkpoints/last.ckpt`, `metrics.csv` and TensorBoard events.
        progress: Called after each epoch; not when several devices train. A `Follower` is
            also called when the epoch is on the disk.
        observers: Callbacks that look on.

    Raises:
        ConfigError: If a loss is not finite; the weights of the last whole epoch stay saved.
    """
    if len(batches) < settings.devices:
        msg = f"a training needs at least one batch an epoch, got 0 (batch {batches.batch_size})"
        raise ValueError(msg)
    task = _Task(channels_last(objective), settings=settings)
    watch = _Watch(settings, folder=folder, progress=progress)
    average = [] if settings.ema_decay is None else [WeightAverage(settings.ema_decay)]
    callbacks = [watch, *average, *observers]
    trainer = _trainer(settings, folder=folder, callbacks=callbacks)
    last = folder / CHECKPOINTS / "last.ckpt"
    with torch.random.fork_rng(), _quiet(), _interrupts():
        resume = last if last.is_file() else None
        trainer.fit(task, batches, ckpt_path=resume, weights_only=True)
    if settings.devices > 1:
        _bring_back(last, callbacks)
    for mean in average:
        mean.write_to(task)
    rows_last(objective)
    return watch.result(trainer)


def _bring_back(last: Path, callbacks: Sequence[Callback]) -> None:
    """Take over what the callbacks in the processes that trained have seen."""
    saved = torch.load(last, map_location="cpu", weights_only=True)["callbacks"]
    for callback in callbacks:
        if callback.state_key in saved:
            callback.load_state_dict(saved[callback.state_key])


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # Views are drawn from images in memory: worker processes would only cost.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # A resumed run writes where it wrote before.
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        # Frozen parts are in evaluation mode on purpose.
        warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
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

    def __init__(self, objective: nn.Module, *, settings: FitSettings) -> None:
        super().__init__()
        self.objective = objective
        self.fit_settings = settings

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """Return the loss of a batch."""
        del batch_index
        found: Tensor | Mapping[str, Tensor] = self.objective(batch)
        parts = found if isinstance(found, Mapping) else {"loss": found}
        self._check(parts["loss"])
        seen = {name: value.detach().float() for name, value in parts.items()}
        together = self.fit_settings.devices > 1
        self.log_dict(seen, on_step=False, on_epoch=True, batch_size=1, sync_dist=together)
        return parts["loss"]

    def _check(self, loss: Tensor) -> None:
        """Stop before a loss that is no number spoils the weights; float16 skips such steps."""
        if self.fit_settings.precision == "16-mixed" or bool(torch.isfinite(loss)):
            return
        epoch, step = self.trainer.current_epoch + 1, self.trainer.global_step + 1
        rate = max(float(group["lr"]) for group in self.trainer.optimizers[0].param_groups)
        msg = (
            f"the loss is {float(loss.detach()):g} in epoch {epoch}, step {step}, at a learning "
            f"rate of {rate:.3g}; the training was stopped"
        )
        raise ConfigError(msg, hint="lower train.lr, or raise train.warmup_epochs")

    def configure_optimizers(self) -> Any:
        """Return AdamW with a schedule that is counted in steps."""
        settings = self.fit_settings
        groups = parameter_groups(self.objective, weight_decay=settings.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=settings.lr)
        steps = int(self.trainer.estimated_stepping_batches)  # those of this process
        warmup = round(settings.warmup_epochs * steps / settings.epochs)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: lr_scale(step, warmup=warmup, total=steps)
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


class _Watch(Callback):
    """Seeds each step, reports each epoch, and ends the training when its time is up."""

    def __init__(self, settings: FitSettings, *, folder: Path, progress: Progress | None) -> None:
        self.settings = settings
        self.folder = folder
        self.progress = progress
        self.started_s = time.monotonic()
        self.earlier_s = 0.0
        self.cut_short = False
        self.loss = math.nan
        self.epochs = 0

    @property
    def elapsed_s(self) -> float:
        return self.earlier_s + time.monotonic() - self.started_s

    def state_dict(self) -> dict[str, Any]:
        return {
            "elapsed_s": self.elapsed_s,
            "loss": self.loss,
            "epochs": self.epochs,
            "cut_short": self.cut_short,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.earlier_s = float(state_dict["elapsed_s"])
        self.started_s = time.monotonic()
        self.loss = float(state_dict["loss"])
        self.epochs = int(state_dict["epochs"])
        self.cut_short = bool(state_dict["cut_short"])

    def __getstate__(self) -> dict[str, Any]:
        # Another process cannot tell this one's terminal how far it is.
        return {**self.__dict__, "progress": None}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Weights and figures of an epoch are written after all that is done at its end.
        if self.epochs:
            self._look()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look()

    def _look(self) -> None:
        if isinstance(self.progress, Follower):
            self.progress.look(self.folder)

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        step = trainer.global_step * self.settings.devices + trainer.global_rank
        torch.manual_seed(self.settings.seed * 1_000_003 + step)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        limit = self.settings.max_minutes
        steps_left = trainer.global_step < trainer.estimated_stepping_batches
        if limit is not None and steps_left:
            is_late = self.elapsed_s > limit * 60
            if trainer.strategy.reduce_boolean_decision(is_late, all=False):
                self.cut_short = trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.loss = float(trainer.callback_metrics["loss"])
        self.epochs = trainer.global_step // int(trainer.num_training_batches)
        if self.progress is not None:
            epoch = trainer.current_epoch + 1
            self.progress(EpochReport(epoch, self.settings.epochs, self.loss, self.elapsed_s))

    def result(self, trainer: Trainer) -> FitResult:
        device = trainer.strategy.root_device.type
        return FitResult(self.epochs, self.cut_short, self.loss, self.elapsed_s, device)


def _trainer(settings: FitSettings, *, folder: Path, callbacks: list[Callback]) -> Trainer:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    table = MetricsTable(folder)
    return Trainer(
        max_epochs=settings.epochs,
        devices=settings.devices,
        strategy="ddp_spawn" if settings.devices > 1 else "auto",
        use_distributed_sampler=False,
        precision=settings.precision,
        gradient_clip_val=settings.clip_norm,
        callbacks=[*callbacks, CheckpointAfterFigures(folder / CHECKPOINTS, table)],
        plugins=[WholeCheckpoints()],
        logger=[table, TensorBoardLogger(folder, name="", version="tensorboard")],
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        default_root_dir=folder,
    )
