"""What an interrupted retraining had reached: its run, its challenger, and perhaps production."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from medvit.labels.dataset import DatasetVersion
from medvit.models.card import ModelCard, read_card
from medvit.registry.registry import ModelVersion, list_models
from medvit.workspace import Workspace
from pipelines.retraining.challenger import Challenger, read_suspects
from pipelines.run_record import RUN_FILE
from pipelines.training.run import IDENTITY_FILE


def run_name(folder: Path) -> str:
    """Return command and number of a run.

    Examples:
        >>> run_name(Path("medvit-workspace/runs/retrain/3"))
        'retrain/3'
    """
    return f"{folder.parent.name}/{folder.name}"


def goes_on(workspace: Workspace, identity: BaseModel) -> bool:
    """Whether the latest run is this one, and was interrupted."""
    latest = _interrupted_run(workspace)
    if latest is None:
        return False
    file = latest / IDENTITY_FILE
    text = json.dumps(identity.model_dump(mode="json"), sort_keys=True)
    return file.is_file() and file.read_text(encoding="utf-8") == text


def champion_before(champion: ModelVersion, workspace: Workspace) -> ModelVersion | None:
    """Return what was in production before the interrupted run promoted its own challenger.

    None where no run was interrupted, or production is not that run's challenger.
    """
    latest = _interrupted_run(workspace)
    card = read_card(champion.folder)
    if latest is None or card.training.get("run") != run_name(latest):
        return None
    known = {each.reference: each for each in list_models(workspace.models)}
    return next((known[parent] for parent in card.parents if parent in known), None)


def made_before(
    champion: ModelVersion, version: DatasetVersion, workspace: Workspace, folder: Path
) -> Challenger | None:
    """Return the challenger that a run had registered when it was interrupted, if it had."""
    for each in list_models(workspace.models):
        if each.name == champion.name and workspace.models in each.folder.parents:
            card = read_card(each.folder)
            if _is_of(card, champion, version, run=run_name(folder)):
                plan = card.training["strategy"]
                return Challenger(each.reference, card.metrics, plan, read_suspects(folder))
    return None


def _is_of(card: ModelCard, champion: ModelVersion, version: DatasetVersion, *, run: str) -> bool:
    made = (card.training.get("run"), card.training.get("dataset"), card.parents)
    return made == (run, version.facts, (champion.reference,))


def _interrupted_run(workspace: Workspace) -> Path | None:
    latest = workspace.latest_run("retrain")
    return None if latest is None or (latest / RUN_FILE).exists() else latest
