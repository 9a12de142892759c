"""Retrain: decisions -> labels -> data set version -> challenger -> gate -> perhaps production.

The same command goes on where an interrupted one stopped, and one runs at a time. Production
changes at the very end, by one move of a pointer, or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from medvit.errors import ConfigError, NothingToDoError
from medvit.labels.dataset import DatasetVersion, read_cases
from medvit.registry.lineage import lineage_of
from medvit.registry.registry import ModelVersion, find_model, pinned_version
from medvit.store.rows import CaseSignal
from medvit.store.store import Store
from medvit.workspace import Workspace
from pipelines.config import Settings
from pipelines.full_disk import told_when_full
from pipelines.labelling.suspect_queue import signal_of
from pipelines.retraining.assignment import Assignment, labels_of, new_labels, require_news
from pipelines.retraining.challenger import Challenger, SuspectRow
from pipelines.retraining.judging import Gate, judge_pair
from pipelines.retraining.lock import alone
from pipelines.retraining.resumption import champion_before, goes_on, made_before, run_name
from pipelines.retraining.snapshot import (
    KIND_OF_TASK,
    Snapshot,
    Task,
    find_disputes,
    take_snapshot,
    worst_of_each_case,
)
from pipelines.retraining.strategy import Strategy
from pipelines.run_record import write_run_record
from pipelines.training.run import open_run

if TYPE_CHECKING:
    from medvit.learn.fit import EpochReport
    from pipelines.retraining.learning import Desk

Progress = Callable[[float, float, str], None]

WHEN_FULL = (
    "free some space; the same command goes on where this one stopped, and models that were "
    "registered before are unharmed"
)

LEARNING_FROM, LEARNING_TO = 10.0, 80.0
"""Per cent of the whole that learning takes on the progress bar."""


class RetrainSettings(Settings):
    """What is retrained, and how far it may go.

    Attributes:
        task: None: that of `model`, or the only one that has decisions.
        model: Name of the champion, or `name@version`; None: the task's production model.
        promote: Put the challenger into production if the gate says so.
        min_labels: New labels that make it worth the while.
        by: Who is named in the history of production.
    """

    task: Task | None = None
    model: str | None = None
    promote: bool = False
    min_labels: int = Field(1, ge=1)
    strategy: Strategy | Literal["auto"] = "auto"
    consensus: Literal["weighted", "majority"] = "weighted"
    max_minutes: float | None = Field(None, gt=0)
    by: str = Field("medvit retrain", min_length=1)


class _Identity(Settings):
    """What makes a run the same run: it is gone on with."""

    settings: RetrainSettings
    champion: str
    champion_sha256: str
    dataset: str

    @classmethod
    def of(
        cls, settings: RetrainSettings, champion: ModelVersion, version: DatasetVersion
    ) -> _Identity:
        """Return the identity of a run with these settings and this champion."""
        return cls(
            settings=settings,
            champion=champion.reference,
            champion_sha256=champion.sha256,
            dataset=version.sha256,
        )


@dataclass(frozen=True, slots=True)
class RetrainResult:
    """What a retraining answers.

    Attributes:
        model: `name@version` of the challenger.
        disagreements: Cases on which readers do not agree; they are in the queue.
        suspects: Training labels that look wrong; their cases are in the queue.
        left_out: Labelled cases that could not be used, and why.
    """

    run: Path
    model: str
    champion: str
    metrics: Mapping[str, Any]
    gate: Gate
    is_promoted: bool
    dataset: Mapping[str, Any]
    plan: Mapping[str, Any]
    new_labels: int
    disagreements: int
    suspects: tuple[SuspectRow, ...]
    left_out: tuple[str, ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "run": str(self.run),
            "model": self.model,
            "metrics": dict(self.metrics),
            "gate": asdict(self.gate),
            "promoted": self.is_promoted,
            "champion": self.champion,
            "dataset": dict(self.dataset),
            "strategy": dict(self.plan),
            "new_labels": self.new_labels,
            "disagreements": self.disagreements,
            "suspects": [asdict(each) for each in self.suspects],
            "left_out": list(self.left_out),
            "seconds": self.seconds,
        }


@dataclass(slots=True)
class _Retraining:
    """A retraining on its way."""

    settings: RetrainSettings
    workspace: Workspace
    champion: ModelVersion
    snapshot: Snapshot
    new_labels: int
    progress: Progress
    started_s: float = field(default_factory=time.monotonic)

    @property
    def version(self) -> DatasetVersion:
        return self.snapshot.version


def run(
    settings: RetrainSettings, workspace: Workspace, *, progress: Progress | None = None
) -> RetrainResult:
    """Make a challenger of all that readers decided, and let the gate judge it.

    Args:
        settings: What is retrained.
        workspace: Holds store, models and data set versions.
        progress: Told per cent done, 100, and what is at hand.

    Raises:
        NothingToDoError: If no label is new since the last attempt, or too few are.
        ConfigError: If it is not clear what to retrain.
        InputError: If another retraining is running, or the disk is full.
        ModelError: If the champion was altered.
        StoreError: If the store fails.
    """
    tell = progress or (lambda _done, _total, _what: None)
    workspace.prepare()
    with (
        told_when_full(workspace.folder, hint=WHEN_FULL),
        alone(workspace.folder),
        Store.open(workspace.store_url) as store,
    ):
        tell(0, 100, "labels")
        task, champion = _choose(settings, workspace, store)
        snapshot = take_snapshot(
            workspace,
            store,
            task,
            now=datetime.now(UTC),
            consensus=settings.consensus,
            learnt=lineage_of(champion, workspace.models).seen,
        )
        _queue_disagreements(store, task, snapshot)
        champion, identity = _identify(settings, workspace, champion, snapshot.version)
        new_labels = _count_new(settings, workspace, champion, snapshot.version, identity)
        job = _Retraining(settings, workspace, champion, snapshot, new_labels, tell)
        with open_run(workspace, "retrain", identity) as folder:
            result = _carry_out(job, folder)
            _queue_suspects(store, snapshot.version, result.suspects)
            _write_record(settings, result)  # from here on the run counts as ended
        tell(100, 100, "done")
        return result


def _choose(
    settings: RetrainSettings, workspace: Workspace, store: Store
) -> tuple[Task, ModelVersion]:
    """Return the task and the model in its production, or the one that was named."""
    if settings.model is not None:
        champion = find_model(settings.model, task=settings.task, models=workspace.models)
        if champion.task == "backbone":
            msg = f"{champion.reference} is a backbone, which no decision is about"
            raise ConfigError(msg, hint="name a model of task defect or nodule")
        return champion.task, champion
    task = settings.task or _only_task(store)
    return task, find_model(None, task=task, models=workspace.models)


def _only_task(store: Store) -> Task:
    from medvit.store.decided import decided_cases

    tasks = [task for task, kind in KIND_OF_TASK.items() if next(decided_cases(store, kind), None)]
    if not tasks:
        msg = "no reader has decided about anything yet"
        raise NothingToDoError(msg, hint="review findings in `medvit app`, or import labels")
    if len(tasks) > 1:
        msg = f"there are decisions for {' and '.join(tasks)}"
        raise ConfigError(msg, hint="name one with --task")
    return tasks[0]


def _identify(
    settings: RetrainSettings, workspace: Workspace, champion: ModelVersion, version: DatasetVersion
) -> tuple[ModelVersion, _Identity]:
    """Return the champion, and what makes the run the same run.

    A run that was interrupted after its promotion goes on with the champion of before.
    """
    pairs = [
        (each, _Identity.of(settings, each, version))
        for each in (champion_before(champion, workspace), champion)
        if each is not None
    ]
    return next((pair for pair in pairs if goes_on(workspace, pair[1])), pairs[-1])


def _count_new(
    settings: RetrainSettings,
    workspace: Workspace,
    champion: ModelVersion,
    version: DatasetVersion,
    identity: _Identity,
) -> int:
    """Return how many labels are new since the last attempt, or of the run that goes on."""
    if goes_on(workspace, identity):
        return new_labels(champion, version, labels_of(champion, workspace, version))
    return require_news(version, champion, workspace, least=settings.min_labels)


def _carry_out(job: _Retraining, folder: Path) -> RetrainResult:
    challenger = _challenger(job, folder)
    job.progress(LEARNING_TO, 100, f"gate: {challenger.reference} against {job.champion.reference}")
    pair = (job.champion, challenger.reference)
    gate = judge_pair(*pair, job.version, job.workspace, out=folder / "gate")
    is_promoted = _promote(job, challenger, gate)
    return RetrainResult(
        run=folder,
        model=challenger.reference,
        champion=job.champion.reference,
        metrics=challenger.metrics,
        gate=gate,
        is_promoted=is_promoted,
        dataset={**job.version.facts, "counts": job.version.counts},
        plan=challenger.plan,
        new_labels=job.new_labels,
        disagreements=len(worst_of_each_case(job.snapshot.disputes)),
        suspects=challenger.suspects,
        left_out=job.snapshot.left_out,
        seconds=round(time.monotonic() - job.started_s, 1),
    )


def _write_record(settings: RetrainSettings, result: RetrainResult) -> None:
    record = {"command": "retrain", "state": "done", "device": "cpu", **result.as_json()}
    record |= {"settings": settings.model_dump(mode="json"), "failures": result.left_out}
    write_run_record(result.run, record)


def _challenger(job: _Retraining, folder: Path) -> Challenger:
    """Make and register a challenger, or take the one that an interrupted run had registered."""
    made = made_before(job.champion, job.version, job.workspace, folder)
    if made is not None:
        return made
    _hold_production(job)
    return _make(job, _desk(job, folder))


def _hold_production(job: _Retraining) -> None:
    """Promote a champion whose name means it only as the newest: its challenger will be newer."""
    from medvit.registry.production import promote

    champion, models = job.champion, job.workspace.models
    is_newest = models in champion.folder.parents and champion.production
    if is_newest and pinned_version(models, champion.name) is None:
        why = "it was in production as the newest version when its first challenger was made"
        promote(models, champion.name, champion.version, by=job.settings.by, reason=why)


def _make(job: _Retraining, desk: Desk) -> Challenger:
    before = labels_of(job.champion, job.workspace, job.version)
    run, wanted = run_name(desk.folder), job.settings.strategy
    assignment = Assignment(job.champion, job.version, before, run, wanted)
    if job.champion.task == "nodule":
        from pipelines.retraining.nodules import make_nodule_challenger

        return make_nodule_challenger(assignment, job.workspace, desk=desk)
    from pipelines.retraining.defects import make_defect_challenger

    return make_defect_challenger(assignment, job.workspace, desk=desk)


def _desk(job: _Retraining, folder: Path) -> Desk:
    from pipelines.retraining.learning import Desk

    def tell(report: EpochReport) -> None:
        share = report.epoch / report.epochs
        left_s = report.elapsed_s / share - report.elapsed_s
        done = LEARNING_FROM + share * (LEARNING_TO - LEARNING_FROM)
        what = f"epoch {report.epoch} of {report.epochs}, {left_s:.0f} s of learning left"
        job.progress(done, 100, what)

    job.progress(LEARNING_FROM, 100, "learning")
    return Desk(folder, tell, job.settings.max_minutes)


def _promote(job: _Retraining, challenger: Challenger, gate: Gate) -> bool:
    from medvit.registry.production import promote

    name, _, number = challenger.reference.partition("@")
    if pinned_version(job.workspace.models, name) == number:
        return True  # by this run, before it was interrupted
    if not job.settings.promote or gate.verdict != "promote":
        return False
    current = job.champion.version if job.champion.production else None
    promote(
        job.workspace.models,
        name,
        number,
        by=job.settings.by,
        reason=gate.reasons[0],
        instead_of=current,
    )
    return True


def _queue_disagreements(store: Store, task: Task, snapshot: Snapshot) -> None:
    """Put what readers do not agree on into the queue, in place of what was there."""
    disputes = list(snapshot.disputes)
    for kind in set(KIND_OF_TASK.values()) - {KIND_OF_TASK[task]}:
        disputes += find_disputes(store, kind)
    rows = [
        CaseSignal(each.case_id, "disagreement", 1 - each.confidence, each.reason)
        for each in worst_of_each_case(disputes)
    ]
    store.put_signals(rows, replacing=["disagreement"])


def _queue_suspects(store: Store, version: DatasetVersion, suspects: Sequence[SuspectRow]) -> None:
    cases = read_cases(version)
    rows = [
        signal_of(
            cases[each.path]["case_id"],
            label=each.label,
            suggested=each.suggested,
            confidence=each.confidence,
        )
        for each in suspects
    ]
    if rows:
        store.put_signals(rows)
