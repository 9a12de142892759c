"""The training loop: schedule, resumption, time limit, interruption."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from medvit.learn.fit import (
    EpochReport,
    FitResult,
    FitSettings,
    Progress,
    fit,
    lr_scale,
    parameter_groups,
)


class Squares(nn.Module):
    """A loss with dropout, so that randomness is part of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.drop = nn.Dropout(0.3)
        nn.init.ones_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, batch: list[Tensor]) -> Tensor:
        out: Tensor = self.drop(self.layer(batch[0])).pow(2).mean()
        return out


def train(
    folder: Path, *, progress: Progress | None = None, max_minutes: float | None = None
) -> tuple[FitResult, Tensor]:
    objective = Squares()
    x = torch.rand(16, 3, generator=torch.Generator().manual_seed(0))
    settings = FitSettings(epochs=4, lr=1e-2, max_minutes=max_minutes)
    batches = DataLoader(TensorDataset(x), batch_size=8)
    result = fit(objective, batches, settings=settings, folder=folder, progress=progress)
    return result, objective.layer.weight.detach().clone()


def test_each_epoch_is_reported_and_the_loss_falls(tmp_path: Path) -> None:
    reports: list[EpochReport] = []
    result, _ = train(tmp_path, progress=reports.append)
    assert [(report.epoch, report.epochs) for report in reports] == [(n, 4) for n in (1, 2, 3, 4)]
    assert reports[-1].loss < reports[0].loss
    assert (result.epochs, result.cut_short, result.loss) == (4, False, reports[-1].loss)
    assert (tmp_path / "metrics.csv").is_file()
    assert list((tmp_path / "tensorboard").iterdir())


class Lines:
    """A follower that counts the lines of the table, and whether weights are there."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, bool]] = []

    def __call__(self, report: EpochReport) -> None:
        """Want to know nothing of it."""

    def look(self, folder: Path) -> None:
        table, weights = folder / "metrics.csv", folder / "checkpoints" / "last.ckpt"
        lines = len(table.read_text(encoding="utf-8").splitlines()) - 1 if table.exists() else 0
        self.seen.append((lines, weights.exists()))


def test_a_follower_looks_when_an_epoch_is_on_the_disk(tmp_path: Path) -> None:
    lines = Lines()
    train(tmp_path, progress=lines)
    assert lines.seen == [(0, False), (1, True), (2, True), (3, True), (4, True)]


def test_an_interrupted_run_goes_on_to_the_very_same_weights(tmp_path: Path) -> None:
    def interrupt(report: EpochReport) -> None:
        if report.epoch == 3:
            raise KeyboardInterrupt

    _, whole = train(tmp_path / "whole")
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", progress=interrupt)
    assert signal.getsignal(signal.SIGINT) == handler
    seen: list[int] = []
    result, resumed = train(tmp_path / "parts", progress=lambda report: seen.append(report.epoch))
    assert seen == [3, 4]
    assert result.epochs == 4
    assert torch.equal(resumed, whole)


def test_a_run_killed_after_its_last_epoch_still_knows_its_loss(tmp_path: Path) -> None:
    whole, weights = train(tmp_path)
    again, same = train(tmp_path)
    assert (again.epochs, again.loss) == (whole.epochs, whole.loss) == (4, whole.loss)
    assert torch.equal(same, weights)


def test_the_time_limit_ends_cleanly_and_says_so(tmp_path: Path) -> None:
    result, weights = train(tmp_path, max_minutes=1e-9)
    assert result.cut_short
    assert not torch.equal(weights, torch.ones(1, 3))


def test_the_state_of_randomness_is_put_back(tmp_path: Path) -> None:
    objective, batches = Squares(), DataLoader(TensorDataset(torch.rand(8, 3)), batch_size=8)
    before = torch.get_rng_state()
    fit(objective, batches, settings=FitSettings(epochs=1, lr=1e-3), folder=tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_training_without_a_batch_is_refused(tmp_path: Path) -> None:
    batches = DataLoader(TensorDataset(torch.rand(3, 3)), batch_size=8, drop_last=True)
    with pytest.raises(ValueError, match="at least one batch an epoch, got 0"):
        fit(Squares(), batches, settings=FitSettings(1, 1e-3), folder=tmp_path)


@pytest.mark.parametrize(("epochs", "lr"), [(0, 1e-3), (1, 0.0)])
def test_settings_that_train_nothing_are_refused(epochs: int, lr: float) -> None:
    with pytest.raises(ValueError, match=f"got {epochs} and {lr}"):
        FitSettings(epochs=epochs, lr=lr)


def test_the_schedule_rises_from_near_zero_and_ends_at_zero() -> None:
    scales = [lr_scale(step, warmup=10, total=110) for step in range(111)]
    assert scales[0] == pytest.approx(0.1)
    assert scales[10] == pytest.approx(1.0)
    assert scales[60] == pytest.approx(0.5)
    assert scales[110] == pytest.approx(0.0)
    assert scales[10:] == sorted(scales[10:], reverse=True)


def test_vectors_are_not_decayed_and_frozen_parameters_are_left_out() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1))
    for parameter in net[2].parameters():
        parameter.requires_grad = False
    matrices, vectors = parameter_groups(net, weight_decay=0.1)
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0.0)
    assert [tuple(p.shape) for p in matrices["params"]] == [(3, 2)]
    assert [tuple(p.shape) for p in vectors["params"]] == [(3,), (3,), (3,)]
