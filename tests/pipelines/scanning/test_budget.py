from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medvit.inference.nodules import NoduleSettings
from medvit.io.case import Reason
from medvit.models.weights import load_model
from medvit.registry.registry import find_model
from medvit.tiles.budget import BudgetError, parse_bytes
from medvit.tiles.footprint import MIB
from medvit.volume.volume import Volume, volume_of
from pipelines.scanning.budget import check_budget, default_budget, plan_search
from pipelines.scanning.detectors import Detector
from pipelines.scanning.limits import Limits
from pipelines.scanning.memory import available_bytes, current_rss_mb
from tests.make.models import register_untrained

SOUND = (Reason("ok", ""),)
SMALL = NoduleSettings(tile_side=32, overlap=8)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    models = tmp_path_factory.mktemp("models")
    register_untrained(models)
    version = find_model(None, task="nodule", models=models)
    return Detector(version, *load_model(version.folder))


@pytest.fixture
def volume() -> Volume:
    return volume_of(np.zeros((8, 64, 64)), np.eye(4))


def test_the_default_leaves_memory_to_others() -> None:
    assert current_rss_mb() * MIB < default_budget() < current_rss_mb() * MIB + available_bytes()


def test_a_case_gets_a_plan_within_the_limits(
    detector: Detector, volume: Volume, tmp_path: Path
) -> None:
    plan = plan_search(volume, detector, SMALL, Limits(4 * 2**30), costs=tmp_path)
    assert current_rss_mb() * 0.8 < plan.predicted_peak_mb <= 4096
    assert len(list(tmp_path.iterdir())) == 1


def test_the_figure_of_a_refused_budget_does(detector: Detector, volume: Volume) -> None:
    with pytest.raises(BudgetError, match=r"^50 MiB of memory are too few, \d+ MiB needed") as told:
        plan_search(volume, detector, SMALL, Limits(50 * MIB))
    figure = told.value.hint.removeprefix("use --max-ram ").removesuffix(" or more")
    plan_search(volume, detector, SMALL, Limits(parse_bytes(figure)))


@pytest.mark.slow
def test_a_budget_is_refused_before_any_case_is_read(detector: Detector) -> None:
    with pytest.raises(BudgetError) as told:
        check_budget([detector], Limits(50 * MIB))
    assert told.value.smallest_bytes > current_rss_mb() * MIB * 0.8
    check_budget([detector], Limits(told.value.smallest_bytes + 64 * MIB))
