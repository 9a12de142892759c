"""What is shown, and when the alarm goes off."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from medvit.learn.pretraining.observe import Figures, reconstruction_picture
from medvit.learn.pretraining.views import SslBatch
from medvit.learn.pretraining.volumes import VolumeSslLoss


def epoch(figures: Figures, *, step: int, found: float) -> None:
    """Let figures see the end of an epoch in which a share of the pairs was found."""
    trainer = SimpleNamespace(
        callback_metrics={"contrast_accuracy": torch.tensor(found)}, global_step=step
    )
    figures.on_train_epoch_end(cast("Any", trainer), cast("Any", None))


def test_the_alarm_waits_for_the_start_and_names_the_figure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    figures = Figures(alarm_from_step=100, views=11)  # chance finds a tenth
    with caplog.at_level(logging.WARNING):
        epoch(figures, step=50, found=0.1)
        assert not caplog.records
        epoch(figures, step=100, found=0.125)
    found = figures.has_collapsed
    assert found
    assert "12.5% of views find the other view of their patch, less than 15.0%" in caplog.text
    epoch(figures, step=150, found=0.16)
    assert not figures.has_collapsed


def test_the_figures_outlive_an_interruption() -> None:
    figures, resumed = (Figures(alarm_from_step=10, views=8) for _ in range(2))
    epoch(figures, step=20, found=0.1)
    resumed.load_state_dict(figures.state_dict())
    assert (resumed.last, resumed.steps) == (figures.last, 20)
    assert resumed.has_collapsed


class Half(nn.Module):
    """Restores everything to one half."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        assert not self.training
        return x, x, torch.zeros_like(x) + self.level


def test_the_picture_shows_middle_slices_side_by_side() -> None:
    painted, clean = torch.rand(2, 4, 1, 6, 5, 5)
    objective = VolumeSslLoss(cast("Any", Half()), temperature=0.5)
    picture = reconstruction_picture(objective, SslBatch(painted, clean, torch.zeros(4).long()))
    assert picture.shape == (1, 10, 15)
    assert picture[0, :5, :5].equal(painted[0, 0, 3])
    assert (picture[0, :, 5:10] == 0.5).all()
    assert picture[0, 5:, 10:].equal(clean[1, 0, 3])
    assert objective.net.training
