"""A running mean of weights, which scores better than the last weights of a training.

Polyak averaging as an exponential mean (Tarvainen 2017, arXiv 1703.01780, equation 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn


def decay_at(step: int, *, most: float) -> float:
    """Return how much of the mean stays after a step counted from 1.

    It rises to `most`, so that the random weights of the start are soon forgotten.

    Examples:
        >>> [round(decay_at(step, most=0.99), 3) for step in (1, 9, 90, 10_000)]
        [0.182, 0.526, 0.91, 0.99]
    """
    return min(most, (1 + step) / (10 + step))


class WeightAverage(Callback):
    """Keeps the mean of all floating-point weights and buffers; the rest is as it was last.

    It is part of a checkpoint, so a training that goes on has the same mean.

    Args:
        decay: Share of the mean that a late step keeps, see `decay_at`.

    Raises:
        ValueError: If `decay` is not from 0 to below 1.
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            msg = f"the decay of a mean of weights must be from 0 to below 1, got {decay}"
            raise ValueError(msg)
        self.decay = decay
        self.steps = 0
        self.mean: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"steps": self.steps, "mean": self.mean}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.steps = int(state_dict["steps"])
        self.mean = dict(state_dict["mean"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start from the weights, or take the mean to where they are."""
        del trainer
        weights = pl_module.state_dict()
        kept = self.mean or weights
        self.mean = {
            name: kept[name].detach().to(weight.device, copy=True)
            for name, weight in weights.items()
        }

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Take the weights of a step into the mean."""
        del trainer, args
        self.steps += 1
        new_share = 1 - decay_at(self.steps, most=self.decay)
        for name, weight in pl_module.state_dict().items():
            if weight.is_floating_point():
                self.mean[name].lerp_(weight, new_share)
            else:
                self.mean[name].copy_(weight)

    @torch.no_grad()
    def write_to(self, module: nn.Module) -> None:
        """Give a module the mean; nothing where no step was taken.

        Args:
            module: The one that is trained, with the same names.
        """
        for name, weight in module.state_dict().items() if self.mean else ():
            weight.copy_(self.mean[name])


@contextmanager
def averaged(trainer: Trainer, module: LightningModule) -> Iterator[None]:
    """Let a module have the mean of its weights for a while, where the trainer keeps one."""
    averages = [each for each in trainer.callbacks if isinstance(each, WeightAverage)]  # type: ignore[attr-defined]
    own = {name: weight.detach().clone() for name, weight in module.state_dict().items()}
    for average in averages:
        average.write_to(module)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, weight in module.state_dict().items():
                weight.copy_(own[name])
