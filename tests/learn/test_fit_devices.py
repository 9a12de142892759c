"""Several processes that train together do what one would."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from medvit.data.draws import DrawKey, FreshDraws
from medvit.learn.fit import FitResult, FitSettings, fit
from medvit.learn.pretraining.devices import gathered
from medvit.learn.pretraining.simclr import nt_xent

pytestmark = pytest.mark.slow


class Numbered(Dataset[tuple[Tensor, Tensor]]):
    """Two vectors that follow from the number of the item."""

    def __getitem__(self, key: DrawKey) -> tuple[Tensor, Tensor]:
        drawn = torch.randn(2, 6, generator=torch.Generator().manual_seed(key.number))
        return drawn[0], drawn[1]


class Contrast(nn.Module):
    """NT-Xent over the views of all processes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4, bias=False)
        nn.init.eye_(self.layer.weight)

    def forward(self, batch: list[Tensor]) -> Tensor:
        both = self.layer(torch.cat(batch))
        first, second = gathered(both).chunk(2, dim=1)
        return nt_xent(first.flatten(0, 1), second.flatten(0, 1), temperature=0.5)


def train(folder: Path, *, devices: int) -> tuple[FitResult, Tensor]:
    objective = Contrast()
    batches = DataLoader(Numbered(), batch_size=8 // devices, sampler=FreshDraws(16))
    settings = FitSettings(epochs=2, lr=1e-2, warmup_epochs=0, devices=devices)
    result = fit(objective, batches, settings=settings, folder=folder)
    return result, objective.layer.weight.detach().clone()


def test_two_processes_take_the_steps_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    one, alone = train(tmp_path / "one", devices=1)
    two, together = train(tmp_path / "two", devices=2)
    assert (one.epochs, two.epochs) == (2, 2)
    assert two.loss == pytest.approx(one.loss, abs=1e-5)
    assert not torch.equal(alone, torch.eye(4, 6))
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_no_device_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one device, got 0"):
        FitSettings(epochs=1, lr=1e-3, devices=0)
