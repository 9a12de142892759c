"""The running mean of weights: its figures, and that an interruption does not change it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from medvit.learn.fit import EpochReport, FitSettings, Progress, fit
from medvit.learn.weight_average import WeightAverage, averaged, decay_at


class Slope(nn.Module):
    """A loss whose gradient is 1 or more: with AdamW the weight falls by the learning rate."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0]))
        self.drop = nn.Dropout(0.5)
        self.register_buffer("seen", torch.tensor(0))

    def forward(self, batch: list[Tensor]) -> Tensor:
        self.seen += 1
        out: Tensor = self.weight.sum() * (1 + self.drop(batch[0]).mean())
        return out


class Trace(Callback):
    """Notes the weight after each step, as it is and as its mean is."""

    def __init__(self) -> None:
        self.raw: list[float] = []
        self.mean: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        (weight,) = pl_module.parameters()
        self.raw.append(weight.item())
        with averaged(trainer, pl_module):
            self.mean.append(weight.item())
        assert weight.item() == self.raw[-1]


def train(
    folder: Path, *, decay: float | None = 0.7, progress: Progress | None = None
) -> tuple[Slope, Trace]:
    torch.manual_seed(0)
    objective, trace = Slope(), Trace()
    batches = DataLoader(TensorDataset(torch.rand(6, 5)), batch_size=2)
    settings = FitSettings(epochs=4, lr=0.05, ema_decay=decay, warmup_epochs=0)
    fit(objective, batches, settings=settings, folder=folder, progress=progress, observers=[trace])
    return objective, trace


def test_the_mean_follows_its_recurrence_and_is_what_a_training_ends_with(tmp_path: Path) -> None:
    objective, trace = train(tmp_path)
    mean, expected = 1.0, []
    for step, raw in enumerate(trace.raw, start=1):
        keep = min(0.7, (1 + step) / (10 + step))
        mean = keep * mean + (1 - keep) * raw
        expected.append(mean)
    assert len(expected) == 12
    assert trace.mean == pytest.approx(expected, abs=1e-6)
    assert float(objective.weight) == pytest.approx(expected[-1], abs=1e-6)
    assert int(objective.seen) == 12
    assert abs(trace.raw[-1] - expected[-1]) > 1e-3


def test_without_a_mean_a_training_ends_with_its_last_weights(tmp_path: Path) -> None:
    objective, trace = train(tmp_path, decay=None)
    assert float(objective.weight) == trace.raw[-1] == trace.mean[-1]


def test_an_interrupted_training_has_the_very_same_mean(tmp_path: Path) -> None:
    def interrupt(report: EpochReport) -> None:
        if report.epoch == 3:
            raise KeyboardInterrupt

    whole, trace = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", progress=interrupt)
    resumed, rest = train(tmp_path / "parts")
    assert torch.equal(resumed.weight, whole.weight)
    assert rest.mean == trace.mean[-6:]
    finished, none = train(tmp_path / "parts")  # killed after its last epoch
    assert torch.equal(finished.weight, whole.weight)
    assert none.mean == []


def test_the_first_steps_forget_the_start() -> None:
    assert decay_at(1, most=0.999) == pytest.approx(2 / 11)
    assert decay_at(10**6, most=0.999) == 0.999


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_mean_that_never_moves_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=f"below 1, got {decay}"):
        WeightAverage(decay)
