"""Decisions become a challenger, and production stays unharmed whatever goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvit.errors import NothingToDoError
from medvit.registry.registry import find_model
from pipelines.retrain import RetrainSettings, run
from tests.make.decided import NAME, Plant, build_plant

DEFECT = RetrainSettings(task="defect")


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return build_plant(tmp_path, counts={"lines": 16, "plain": 16, "dots": 6})


def test_five_decisions_add_a_class(plant: Plant) -> None:
    plant.decide([*plant.named("lines"), *plant.named("plain"), *plant.named("dots")])
    result = run(DEFECT, plant.workspace)
    print(result)
    with pytest.raises(NothingToDoError, match="no label is new since steel-defects@1"):
        run(DEFECT, plant.workspace)
    assert find_model(NAME, models=plant.workspace.models).version == "base"
