from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from medvit.learn.centre_loss import CentreTargets, centre_loss, centre_targets
from medvit.models.heads.centre import CentreMaps

GRID = (8, 8, 8)
NONE = torch.zeros(0, 4)


def targets_of(*rows: list[float], ignored: Tensor = NONE) -> CentreTargets:
    nodules = [torch.tensor(rows).view(-1, 4)]
    return centre_targets(nodules, [ignored], grid=GRID, stride=2, spacing_mm=1.0)


def perfect(targets: CentreTargets) -> CentreMaps:
    heat = torch.where(targets.heat == 1, 20.0, -20.0)
    return CentreMaps(heat, targets.log_diameter, targets.offset)


def test_a_centre_is_decoded_from_its_cell_and_offset() -> None:
    targets = targets_of([5.0, 8.25, 3.0, 6.0])
    cell = (targets.heat[0, 0] == 1).nonzero()[0]
    decoded = (cell + 0.5 + targets.offset[0][:, *cell]) * 2 - 0.5
    torch.testing.assert_close(decoded, torch.tensor([5.0, 8.25, 3.0]))
    assert targets.log_diameter[0, 0][tuple(cell)] == pytest.approx(math.log(6))


def test_heat_falls_as_a_gaussian_of_a_third_of_the_radius() -> None:
    targets = targets_of([6.5, 6.5, 6.5, 12.0])  # the centre of cell 3
    heat = targets.heat[0, 0, 3, 3]
    expected = [math.exp(-(away**2) / 2) for away in range(4)]  # sigma: one cell of 2 mm
    assert heat[3:7].tolist() == pytest.approx(expected)


def test_a_perfect_answer_costs_nothing_and_a_silent_one_a_lot() -> None:
    targets = targets_of([5.0, 8.25, 3.0, 6.0])
    assert float(centre_loss(perfect(targets), targets)["loss"]) == pytest.approx(0, abs=1e-4)
    silent = perfect(targets)._replace(heat=torch.full((1, 1, *GRID), -20.0))
    assert float(centre_loss(silent, targets)["heat"]) == pytest.approx(20, rel=1e-3)


def test_an_empty_crop_gives_a_finite_loss_that_punishes_false_heat() -> None:
    targets = targets_of()
    flat = torch.zeros(1, 1, *GRID)
    maps = CentreMaps(flat, flat, torch.zeros(1, 3, *GRID))
    losses = centre_loss(maps, targets)
    assert float(losses["heat"]) == pytest.approx(8**3 * 0.25 * math.log(2), rel=1e-4)
    assert losses["diameter"] == 0


def test_nothing_is_learnt_where_it_is_unknown_what_is_there() -> None:
    ignored = torch.tensor([[8.0, 8.0, 8.0, 100.0]])
    targets = targets_of(ignored=ignored)
    loud = CentreMaps(
        torch.full((1, 1, *GRID), 9.0), torch.zeros(1, 1, *GRID), torch.zeros(1, 3, *GRID)
    )
    assert centre_loss(loud, targets)["loss"] == 0


def test_heat_loss_equals_a_loop_over_cells() -> None:
    targets = targets_of([5.0, 8.25, 3.0, 6.0], [10.0, 2.0, 12.0, 9.0])
    logits = torch.randn(1, 1, *GRID, generator=torch.Generator().manual_seed(1))
    total, centres = 0.0, 0
    for logit, wanted in zip(logits.flatten().tolist(), targets.heat.flatten(), strict=True):
        p = 1 / (1 + math.exp(-logit))
        if wanted == 1:
            total -= (1 - p) ** 2 * math.log(p)
            centres += 1
        else:
            total -= (1 - float(wanted)) ** 4 * p**2 * math.log(1 - p)
    maps = CentreMaps(logits, targets.log_diameter, targets.offset)
    assert centres == 2
    assert float(centre_loss(maps, targets)["heat"]) == pytest.approx(total / 2, rel=1e-4)


def test_targets_and_losses_lie_where_the_maps_do() -> None:
    """The meta device has no values: whatever stayed on the processor would be refused."""
    rows = [torch.tensor([[5.0, 8.25, 3.0, 6.0]])]
    targets = centre_targets(
        rows, rows, grid=GRID, stride=2, spacing_mm=1.0, device=torch.device("meta")
    )
    heat = torch.zeros(1, 1, *GRID, device="meta")
    losses = centre_loss(CentreMaps(heat, heat, heat.expand(1, 3, *GRID)), targets)
    assert {value.device.type for value in losses.values()} == {"meta"}
