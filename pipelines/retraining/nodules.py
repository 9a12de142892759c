"""A challenger for chest CT: reviewed scans and made chests -> crops -> detector -> model version.

What readers rejected is where the training looks first; what they left open counts neither way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from medvit.data.annotated import COLUMNS, AnnotatedScan
from medvit.errors import ConfigError, NothingToDoError
from medvit.geometry import lps_to_index
from medvit.io.case import Case
from medvit.labels.dataset import DatasetVersion, read_cases, read_points
from medvit.workspace import Workspace
from pipelines.nodules.config import DataSettings, ModelSettings, NoduleConfig, TrainSettings
from pipelines.retraining.assignment import Assignment
from pipelines.retraining.challenger import Challenger, challenger_text, training_facts
from pipelines.retraining.strategy import Plan

if TYPE_CHECKING:
    from medvit.data.false_marks import MinedDraws
    from medvit.data.nodule_items import NoduleCrops
    from medvit.learn.fit import FitResult, FitSettings
    from medvit.models.card import ModelCard
    from pipelines.retraining.learning import Desk

PHANTOMS = 4
"""Made chests beside the reviewed scans, so that what was learnt on them is not forgotten."""

MOST_MINUTES = 10.0
"""Unless told otherwise; a crop of 64 voxels takes about a second on one core."""


def scans_of(version: DatasetVersion, *splits: str) -> tuple[AnnotatedScan, ...]:
    """Return the reviewed scans of some splits, with nodules and places that count neither way."""
    cases = read_cases(version)
    nodules, left_open = read_points(version, "is"), read_points(version, "open")
    scans = []
    for row in version.manifest.rows:
        if row.split not in splits:
            continue
        kept = cases[row.path]
        files = tuple(Path(file) for file in kept["files"])
        case = Case(
            kept["case_id"], "ct", kept["source"], Path(kept["root"]), files, kept["series_uid"]
        )
        own, unknown = (_rows(points.get(kept["name"], [])) for points in (nodules, left_open))
        scans.append(AnnotatedScan(kept["name"], row.group, case, own, unknown))
    return tuple(scans)


def make_nodule_challenger(
    assignment: Assignment, workspace: Workspace, *, desk: Desk
) -> Challenger:
    """Fine-tune a detector on the reviewed scans and register it.

    Raises:
        NothingToDoError: If no scan is there to learn from.
        InputError: If a scan cannot be read, or the champion was altered.
    """
    from medvit.learn.fit import fit
    from medvit.learn.nodules import NoduleObjective
    from medvit.models.heads.centre import NoduleDetector
    from medvit.models.weights import load_model
    from medvit.registry.lineage import seen_scans
    from pipelines.nodules.batches import nodule_batches, observers_of
    from pipelines.training.run import register

    version = assignment.version
    scans = scans_of(version, "train", "val")
    if not scans:
        msg = f"data set version {version.number} has no scan to learn from"
        raise NothingToDoError(msg, hint="review more scans; the ones there are frozen")
    detector, card = load_model(assignment.champion.folder)
    if not isinstance(detector, NoduleDetector):
        msg = f"{card.reference} is a {card.architecture.builder}, not a nodule detector"
        raise ConfigError(msg, hint="name a model of task nodule")
    config = _config(card)
    batches, draws = nodule_batches(config, workspace, annotated=scans)
    crops = cast("NoduleCrops", batches.dataset)
    rejected = remember_rejected(crops, draws, version, scans, first=config.data.phantoms)
    result = fit(
        NoduleObjective(detector.train()),
        batches,
        settings=_fit_settings(config.train, minutes=desk.max_minutes or MOST_MINUTES),
        folder=desk.folder,
        progress=desk.progress,
        observers=observers_of(config, batches, draws, known=()),
    )
    plan = _plan(scans, rejected)
    fields = _fields(card, assignment, plan, result)
    saved = register(
        workspace,
        detector.eval().cpu(),
        name=card.name,
        card=fields,
        readme=challenger_text(fields),
        seen=seen_scans((scan.name, scan.patient) for scan in scans),
    )
    return Challenger(saved.reference, fields["metrics"], asdict(plan))


def remember_rejected(
    crops: NoduleCrops,
    draws: MinedDraws,
    version: DatasetVersion,
    scans: Sequence[AnnotatedScan],
    *,
    first: int,
) -> int:
    """Put the marks that readers rejected into the bank of false marks, and return how many.

    Args:
        crops: Hold the backgrounds of the training.
        draws: Hold the bank.
        version: Holds the marks.
        scans: In the order of the training.
        first: Number of the first scan among the cases of the training.
    """
    from medvit.data.patches import CaseGrid, Part

    points = read_points(version, "not")
    rows = [np.zeros((0, 5))]
    for number, background in enumerate(crops.phases[0].backgrounds):
        part = background.voxels
        if not (isinstance(part, Part) and isinstance(part.source, CaseGrid)):
            continue
        place = part.source.case - first
        if not 0 <= place < len(scans):
            continue
        marks = _rows(points.get(scans[place].name, []))
        index = lps_to_index(part.source.affine_lps, marks[:, :3]) - np.array(part.start)
        inside = ((index >= 0) & (index < np.array(part.shape))).all(axis=1)
        own = np.column_stack([np.full(len(marks), number), index, np.ones(len(marks))])
        rows.append(own[inside])
    together = np.concatenate(rows)
    draws.marks.add(0, together)
    return len(together)


def _rows(points: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    return np.array(points, dtype=np.float64).reshape(-1, COLUMNS)


def _config(card: ModelCard) -> NoduleConfig:
    model = ModelSettings(name=card.name)  # what else it says is that of the champion
    data = DataSettings(phantoms=PHANTOMS, validation_phantoms=0)
    train = TrainSettings(epochs=4, crops_per_epoch=64, lr=2e-4, workers=0, lookouts=16)
    return NoduleConfig(task="detect", data=data, model=model, train=train)


def _fit_settings(train: TrainSettings, *, minutes: float) -> FitSettings:
    from medvit.learn.fit import FitSettings

    return FitSettings(
        epochs=train.epochs,
        lr=train.lr,
        warmup_epochs=0.5,
        max_minutes=minutes,
        seed=train.seed,
        precision="bf16-mixed",
        ema_decay=0.95,
    )


def _plan(scans: Sequence[AnnotatedScan], rejected: int) -> Plan:
    nodules = sum(len(scan.nodules) for scan in scans)
    reason = (
        f"{len(scans)} reviewed scans with {nodules} nodules and {rejected} rejected marks, "
        f"beside {PHANTOMS} made chests: all weights learn, slowly"
    )
    return Plan("replay", reason, (), {})


def _fields(
    card: ModelCard, assignment: Assignment, plan: Plan, result: FitResult
) -> dict[str, Any]:
    """Return the fields of the card; thresholds and calibration are the champion's."""
    return {
        "task": "nodule",
        "architecture": card.architecture,
        "classes": card.classes,
        "preprocessing": card.preprocessing,
        "calibration": card.calibration,
        "thresholds": card.thresholds,
        "training": training_facts(assignment, plan),
        "metrics": {"epochs": result.epochs, "cut_short": result.cut_short},
        "parents": (card.reference,),
    }
