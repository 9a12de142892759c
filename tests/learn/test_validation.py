"""Figures of each epoch, the best weights, and objectives that mix."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from medvit.data.augment.mixing import MixSettings
from medvit.learn.classify import ClassifyObjective, content_maps
from medvit.learn.validation import EpochFigures
from medvit.models.heads.classify import DefectClassifier
from medvit.models.vit import Vit, VitSettings


def trainer(epoch: int, loss: float) -> Any:
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.5}, {"lr": 0.25}])
    return SimpleNamespace(
        current_epoch=epoch,
        callback_metrics={"loss": torch.tensor(loss)},
        optimizers=[optimizer],
        global_rank=0,
    )


def test_the_best_epoch_is_kept_and_rows_survive_a_resumption(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    images = np.zeros((4, 4, 4), np.uint8)
    images[2:] = 255
    labels = torch.tensor([0, 0, 1, 1])
    best = tmp_path / "weights" / "best.safetensors"
    figures = EpochFigures(net, images=images, labels=labels, best=best)
    for epoch, slope in enumerate((0.0, 1.0, -1.0)):
        net[1].weight.data = torch.tensor([[-slope], [slope]]).expand(2, 16).clone()
        net[1].bias.data = torch.tensor([slope, -slope])
        figures.on_train_epoch_end(trainer(epoch, 0.1 * epoch), net)  # type: ignore[arg-type]
    assert [row["metrics/accuracy"] for row in figures.rows] == [0.5, 1.0, 0.0]
    assert figures.best_epoch == 2
    assert float(load_file(best)["1.weight"][1, 0]) == 1.0
    again = EpochFigures(net, images=images, labels=labels, best=best)
    again.load_state_dict(figures.state_dict())
    again.on_train_epoch_end(trainer(3, 0.0), net)  # type: ignore[arg-type]
    assert [row["epoch"] for row in again.rows] == [1, 2, 3, 4]
    assert again.best_epoch == 2
    assert again.rows[-1]["lr"] == 0.5


def small() -> DefectClassifier:
    torch.manual_seed(0)
    shape = VitSettings(embed_dim=8, depth=1, num_heads=2, stem_channels=(4, 4))
    return DefectClassifier(Vit(shape), classes=2)


def test_content_is_where_the_class_shows_and_leaves_the_net_as_it_was() -> None:
    net = small()
    images = torch.rand(2, 1, 32, 24)
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    maps = content_maps(net, images, torch.tensor([0, 1]))
    assert maps.shape == (2, 4, 3)
    assert float(maps.min()) == 0.0
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_mixing_objective_sees_shares_in_training_and_labels_in_evaluation() -> None:
    seen: list[torch.Tensor] = []

    class Spy(nn.Module):
        def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            seen.append(targets)
            return logits.sum()

    mixing = MixSettings("tokenmix", probability=1.0, patch_px=8)
    batch = (torch.rand(4, 1, 32, 32), torch.tensor([0, 1, 0, 1]))
    for _ in range(2):
        objective = ClassifyObjective(small(), loss=Spy(), mixing=mixing)
        torch.manual_seed(7)
        objective(batch)
    assert torch.equal(seen[0], seen[1])
    assert seen[0].shape == (4, 2)
    assert seen[0].sum(1).tolist() == pytest.approx([1.0] * 4)
    objective.eval()
    objective(batch)
    assert torch.equal(seen[2], batch[1])
