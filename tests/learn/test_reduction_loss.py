"""Candidates of a training, what they are, and what they cost."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from medvit.data.nodule_items import NoduleBatch
from medvit.learn.nodules import NoduleObjective
from medvit.learn.reduction_loss import candidate_labels, reduction_loss, training_candidates
from medvit.models.builders import nodule_detector

NONE = torch.zeros(0, 4)


def labels_at(cells: list[list[int]], nodules: Tensor, ignored: Tensor = NONE) -> list[float]:
    found = candidate_labels(
        torch.tensor(cells), [nodules, NONE], [ignored, NONE], stride=2, spacing_mm=1.0
    )
    return found.tolist()


def test_candidates_are_peaks_and_the_cells_of_nodules_once_each() -> None:
    heat = torch.full((2, 1, 8, 8, 8), -9.0)
    heat += torch.rand(heat.shape, generator=torch.Generator().manual_seed(0))
    heat[0, 0, 3, 3, 3] = 1
    nodules = [torch.tensor([[6.6, 7.2, 6.9, 5], [0, 15.4, 2, 5], [-3, 5, 5, 5]]), NONE]
    cells = training_candidates(heat, nodules, stride=2).tolist()
    assert cells.count([0, 3, 3, 3]) == 1  # a peak, and the cell of the first nodule
    assert [0, 0, 7, 1] in cells
    assert all(min(cell) >= 0 and max(cell) < 8 for cell in cells)
    assert sum(cell[0] == 1 for cell in cells) <= 16


def test_a_candidate_is_in_a_nodule_away_from_it_or_unclear() -> None:
    nodule = torch.tensor([[8.5, 8.5, 8.5, 10.0]])  # the centre of cell 4
    row = [[0, 4, 4, x] for x in (4, 6, 7, 8, 9)]  # 0, 4, 6, 8 and 10 mm away
    assert labels_at(row, nodule) == [1, 1, -1, -1, 0]
    assert labels_at([[1, 4, 4, 4]], nodule) == [0]  # in another crop


def test_near_what_is_ignored_nothing_is_clear_but_a_nodule() -> None:
    nodule = torch.tensor([[8.5, 8.5, 8.5, 4.0]])
    ignored = torch.tensor([[8.5, 8.5, 8.5, 20.0]])
    assert labels_at([[0, 4, 4, 4], [0, 4, 4, 7]], nodule, ignored) == [1, -1]


def test_the_loss_equals_a_loop_over_candidates() -> None:
    logits, labels = [2.0, -1.0, 0.3, -2.5, 1.1], [1, 1, 0, 0, -1]
    total = 0.0
    for logit, label in zip(logits, labels, strict=True):
        p = 1 / (1 + math.exp(-logit))
        total -= {1: (1 - p) ** 2 * math.log(p), 0: p**2 * math.log(1 - p), -1: 0.0}[label]
    found = reduction_loss(torch.tensor(logits), torch.tensor(labels))
    assert float(found) == pytest.approx(total / 2, rel=1e-5)
    assert float(reduction_loss(torch.tensor([0.0]), torch.tensor([0.0]))) == pytest.approx(
        0.25 * math.log(2)
    )


def test_the_second_look_and_the_pyramid_learn_from_it_but_not_the_first_logit() -> None:
    torch.manual_seed(0)
    objective = NoduleObjective(nodule_detector(backbone="swin3d_tiny", width=8, reduction=True))
    rows = [torch.tensor([[15.0, 15.0, 15.0, 8.0]])]
    losses = objective(NoduleBatch(torch.rand(1, 1, 32, 32, 32), rows, [NONE], 1.0))
    parts = [losses[name].item() for name in ("heat", "diameter", "offset", "reduction")]
    assert losses["loss"].item() == pytest.approx(sum(parts))
    losses["reduction"].backward()
    graded = {name for name, p in objective.named_parameters() if p.grad is not None}
    assert "detector.reduction.verdict.3.weight" in graded
    assert "detector.smooth.0.0.weight" in graded
    assert "detector.head.1.weight" not in graded
