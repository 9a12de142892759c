from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from medvit.inference import cost
from medvit.inference.cost import SETTLING_RUNS, network_cost
from medvit.tiles.footprint import NetworkCost
from medvit.tiles.resident import MIB
from tests.conftest import PROJECT

CPU = torch.device("cpu")
SIDE = 64


class Widening(nn.Module):
    """Holds `copies` maps of its input's size at once."""

    def __init__(self, copies: int) -> None:
        super().__init__()
        self.copies = copies
        self.weight = nn.Parameter(torch.ones(1))
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        maps = [x + number * self.weight for number in range(self.copies)]
        for _ in range(20):
            maps[0] = maps[0].sqrt()
        return torch.stack(maps).sum()


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test be a process that has measured nothing yet."""
    monkeypatch.setattr(cost, "_measured", {})


IN_A_FRESH_PROCESS = """
import torch
from medvit.inference.cost import measure_cost
from tests.inference.test_cost import SIDE, Widening
found = measure_cost(Widening(100).eval(), side=SIDE, device=torch.device("cpu"))
print(found.tile_bytes, found.device_bytes, found.further_bytes)
"""


@pytest.mark.slow
def test_what_a_network_holds_is_measured() -> None:
    # In this process, what other tests freed would be used again and not be seen to rise.
    command = [sys.executable, "-c", IN_A_FRESH_PROCESS]
    told = subprocess.run(command, capture_output=True, check=True, cwd=PROJECT, text=True)
    tile_bytes, device_bytes, further_bytes = map(int, told.stdout.split())
    # 64 ** 3 floats are 1 MiB: 100 copies and their stack
    assert 190 * MIB <= tile_bytes <= 260 * MIB
    assert (device_bytes, further_bytes) == (0, 0)


def test_a_figure_is_kept_for_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Widening(20), Widening(20)
    found = network_cost(first, side=SIDE, model_sha256="a" * 64, folder=tmp_path / "costs")
    assert network_cost(first, side=SIDE, model_sha256="a" * 64).tile_bytes == found.tile_bytes
    monkeypatch.setattr(cost, "_measured", {})
    again = network_cost(second, side=SIDE, model_sha256="a" * 64, folder=tmp_path / "costs")
    assert again == found
    assert (first.runs, second.runs) == (SETTLING_RUNS, 0)


@pytest.mark.parametrize(
    "changed", [{"model_sha256": "b" * 64}, {"side": 32}], ids=["model", "side"]
)
def test_another_model_or_side_is_measured_for_itself(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    network = Widening(2)
    usual: dict[str, object] = {"side": SIDE, "model_sha256": "a" * 64}
    for arguments in (usual, {**usual, **changed}):
        network_cost(network, folder=tmp_path, **arguments)  # type: ignore[arg-type]
    assert network.runs == 2 * SETTLING_RUNS
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"tile_bytes": "x"}', "\x00"])
def test_a_damaged_file_is_measured_anew(
    tmp_path: Path,
    content: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = Widening(2)
    network_cost(network, side=SIDE, model_sha256="a" * 64, folder=tmp_path)
    file = next(tmp_path.iterdir())
    file.write_text(content, encoding="utf-8")
    monkeypatch.setattr(cost, "_measured", {})
    with caplog.at_level(logging.WARNING):
        found = network_cost(network, side=SIDE, model_sha256="a" * 64, folder=tmp_path)
    assert network.runs == 2 * SETTLING_RUNS
    assert NetworkCost(**json.loads(file.read_text(encoding="utf-8"))) == found
    assert file.name in caplog.text


def test_a_folder_that_cannot_be_written_costs_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    taken = tmp_path / "file"
    taken.write_text("", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        network_cost(Widening(2), side=SIDE, model_sha256="a" * 64, folder=taken / "costs")
    assert "not kept" in caplog.text
