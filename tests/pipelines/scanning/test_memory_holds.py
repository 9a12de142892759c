"""Searches in processes of their own keep within the memory that they were given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medvit.io.writing.nifti import write_nifti
from tests.make.chest import centred_affine, make_chest
from tests.make.models import NODULE, register_untrained

pytestmark = pytest.mark.slow


MOST_UNUSED = 0.25
"""By how much a prediction may exceed what is then held, of the latter."""


def share_unused(search: dict[str, Any]) -> float:
    return float(search["predicted_mb"] / search["measured_mb"] - 1)


@dataclass(frozen=True)
class Bench:
    model: Path
    scratch: Path

    def search(self, volume: Path, max_ram: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "tests.make.budgeted", str(volume), str(self.scratch)]
        done = subprocess.run(
            [*command, "--model", str(self.model), "--max-ram", max_ram],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "2"},  # so that two tiles lie side by side
        )
        answer = json.loads(done.stdout)
        assert isinstance(answer, dict)
        return answer


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("bench")
    register_untrained(folder / "models")
    return Bench(folder / "models" / NODULE / "test", folder / "scratch")


@pytest.fixture(scope="module", params=[(60, 256, 256), (160, 160, 160)], ids=str)
def volume(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = request.param
    steps = (240.0 / shape[0], 350.0 / shape[1], 350.0 / shape[2])
    path = tmp_path_factory.mktemp("volume") / "chest.nii.gz"
    rng = np.random.default_rng(0)
    chest = make_chest(shape, centred_affine(shape, steps), noise=rng)
    write_nifti(chest, path)
    return path


def test_the_figure_of_a_refusal_holds_and_more_memory_finds_the_same(
    bench: Bench, volume: Path
) -> None:
    refused = bench.search(volume, "100M")
    assert refused["message"].startswith("100 MiB of memory are too few")
    figure = refused["hint"].removeprefix("use --max-ram ").removesuffix(" or more")

    tight, roomy = bench.search(volume, figure), bench.search(volume, "16G")
    again = [bench.search(volume, "16G") for _ in range(2) if share_unused(roomy) > MOST_UNUSED]
    for each in (tight, roomy, *again):
        assert each["measured_mb"] <= each["predicted_mb"] <= each["budget_mb"]
    assert share_unused(tight) <= MOST_UNUSED
    # Two tiles side by side do not peak together every time.
    assert min(map(share_unused, (roomy, *again))) <= MOST_UNUSED
    assert tight["nodules"] == roomy["nodules"]
    assert tight["tiles"] == roomy["tiles"] > 0
