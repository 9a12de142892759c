"""What is known of a retraining that was interrupted after its challenger was registered."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from medvit.labels.dataset import DatasetVersion, Sample, write_dataset
from medvit.registry.registry import ModelVersion, find_model
from medvit.workspace import Workspace
from pipelines.retraining.challenger import SuspectRow, keep_suspects
from pipelines.retraining.resumption import champion_before, made_before
from pipelines.run_record import RUN_FILE
from tests.make.registry import NAME, put_version

PLAN = {"strategy": "adapter", "reason": "asked for", "new_classes": [], "waiting": {}}
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
SUSPECTS = (SuspectRow("../images/a.png", "hole", "scratch", 0.9),)


@pytest.fixture
def version(tmp_path: Path) -> DatasetVersion:
    sample = Sample("im-a", "../images/a.png", "hole", "train", "a", "a")
    return write_dataset(tmp_path / "datasets" / "defect", "defect", [sample], [], now=NOW)


def put_challenger(workspace: Workspace, dataset: dict[str, Any], *, run: str) -> ModelVersion:
    put_version(workspace.models, "1")
    training = {"run": run, "dataset": dataset, "strategy": PLAN}
    parents = (f"{NAME}@1",)
    return put_version(workspace.models, "2", parents=parents, training=training, metrics={"n": 3})


def champion_of(workspace: Workspace) -> ModelVersion:
    return find_model(f"{NAME}@1", models=workspace.models, shipped=workspace.folder)


def test_a_challenger_is_known_again_by_run_champion_and_data(
    tmp_path: Path, version: DatasetVersion
) -> None:
    workspace = Workspace(tmp_path)
    run = workspace.new_run("retrain")
    keep_suspects(run, SUSPECTS)
    put_challenger(workspace, version.facts, run="retrain/1")
    champion = champion_of(workspace)
    made = made_before(champion, version, workspace, run)
    assert made is not None
    assert (made.reference, made.metrics, made.plan) == (f"{NAME}@2", {"n": 3}, PLAN)
    assert made.suspects == SUSPECTS
    assert made_before(champion, version, workspace, run.with_name("2")) is None


def test_a_challenger_of_other_data_is_none_of_this_run(
    tmp_path: Path, version: DatasetVersion
) -> None:
    workspace = Workspace(tmp_path)
    run = workspace.new_run("retrain")
    put_challenger(workspace, {**version.facts, "sha256": "0" * 64}, run="retrain/1")
    assert made_before(champion_of(workspace), version, workspace, run) is None


def test_who_was_in_production_before_is_asked_for_an_interrupted_run_alone(
    tmp_path: Path, version: DatasetVersion
) -> None:
    workspace = Workspace(tmp_path)
    run = workspace.new_run("retrain")
    challenger = put_challenger(workspace, version.facts, run="retrain/1")
    assert champion_before(challenger, workspace) == champion_of(workspace)
    assert champion_before(champion_of(workspace), workspace) is None
    (run / RUN_FILE).write_text("{}")
    assert champion_before(challenger, workspace) is None
