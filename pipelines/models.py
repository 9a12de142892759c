"""Keep the registry: which of two models is better, and what nothing refers to any more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pydantic import Field
from sqlalchemy.engine import make_url

from medvit.errors import InputError
from medvit.workspace import Workspace
from pipelines.config import Settings
from pipelines.evaluating.classification import Split
from pipelines.full_disk import told_when_full
from pipelines.nodules.annotated_config import Format
from pipelines.run_record import write_run_record
from pipelines.scanning.memory import peak_rss_mb

if TYPE_CHECKING:
    from medvit.registry.registry import ModelVersion
    from medvit.registry.sweeping import Sweep
    from pipelines.gate import FrozenCases, GateAnswer

GATE_FOLDER = "gate"
"""Of a workspace: answers of models on frozen cases, and how often those were looked at."""

READ_SUFFIXES = {".json", ".jsonl", ".yaml", ".csv", ".html", ".md"}
"""Of files in run folders that may name a model."""

SHA256 = re.compile(r"\b[0-9a-f]{64}\b")
CHUNK_CHARACTERS = 1 << 22
OVERLAP_CHARACTERS = 256
"""Longer than any reference, so that none is cut in two."""


class CompareSettings(Settings):
    """Which models are held against each other, and on what."""

    champion: str
    challenger: str
    manifest: Path | None = None
    split: Split = "test"
    root: Path | None = Field(None, description="what paths are relative to; else the manifest")
    scans: Path | None = Field(None, description="annotated scans, for nodule detectors")
    format: Format = "luna16"
    annotations: Path | None = None
    margin: float | None = Field(None, ge=0, lt=1)


def compare_models(settings: CompareSettings, *, workspace: Workspace) -> dict[str, Any]:
    """Judge two models on the same cases, and keep the report in a run folder.

    Returns:
        `gate` with `verdict` and `reasons`, `warnings`, `run`, `report`, and the figures.

    Raises:
        ModelError: If there is no such model, or it was altered.
        InputError: If not exactly one kind of cases is named, a case cannot be read, or the
            disk is full.
    """
    from medvit.registry.registry import find_model
    from pipelines.gate import GateSettings, judge

    champion = find_model(settings.champion, models=workspace.models)
    challenger = find_model(settings.challenger, task=champion.task, models=workspace.models)
    frozen = _frozen(settings, workspace)
    own = {} if settings.margin is None else {"margin": settings.margin}
    rules = GateSettings(folder=workspace.folder / GATE_FOLDER, **own)
    if settings.margin is not None:
        rules = rules.model_copy(update={"margin_reason": "asked for with --margin"})
    workspace.prepare()
    run = workspace.new_run("compare")
    with told_when_full(workspace.folder, hint="free some space, and compare them again"):
        answer = judge(champion, challenger, frozen, settings=rules, out=run)
        record = _record(settings, (champion, challenger), frozen, answer)
        write_run_record(run, record)
    return {
        "gate": record["gate"],
        "warnings": list(answer.warnings),
        "run": str(run),
        "report": str(answer.report),
        **{key: value for key, value in answer.figures.items() if key not in record["gate"]},
    }


def _record(
    settings: CompareSettings,
    pair: tuple[ModelVersion, ModelVersion],
    frozen: FrozenCases,
    answer: GateAnswer,
) -> dict[str, Any]:
    return {
        "command": "models compare",
        "state": "done",
        "settings": settings.model_dump(mode="json"),
        "models": {each.reference: each.sha256 for each in pair},
        "gate": {"verdict": answer.verdict, "reasons": list(answer.reasons)},
        "counts": {"cases": len(frozen.cases)},
        "warnings": list(answer.warnings),
        "predicted_peak_mb": None,
        "measured_peak_mb": round(peak_rss_mb(), 1),
        "failures": [],
    }


def _frozen(settings: CompareSettings, workspace: Workspace) -> FrozenCases:
    from medvit.data.annotations.luna16 import FOLDS as LUNA16_FOLDS
    from medvit.io.scratch import Scratch
    from pipelines.gate import frozen_images, frozen_scans
    from pipelines.nodules.annotated_config import AnnotatedSettings
    from pipelines.nodules.annotated_data import annotated_scans

    if (settings.manifest is None) == (settings.scans is None):
        msg = f"one kind of cases at a time, got manifest={settings.manifest} and "
        msg += f"scans={settings.scans}"
        raise InputError(msg, hint="name --manifest for classifiers, --scans for nodule detectors")
    if settings.manifest is not None:
        if settings.annotations is not None:
            return _frozen_boxes(settings, settings.manifest, settings.annotations)
        return frozen_images(settings.manifest, split=settings.split, root=settings.root)
    with TemporaryDirectory() as place:
        own = AnnotatedSettings(
            root=settings.scans,
            format=settings.format,
            annotations=settings.annotations,
            folds=LUNA16_FOLDS if settings.format == "luna16" else 2,
            lock=Path(place)
            / "folds.json",  # nothing is folded here, and the scans may be read-only
        )
        data = annotated_scans(own, scratch=Scratch.below(workspace.cache))
    return frozen_scans(f"{settings.format} scans", data.scans)


def _frozen_boxes(settings: CompareSettings, manifest: Path, annotations: Path) -> FrozenCases:
    from pipelines.detecting.config import DetectData
    from pipelines.detecting.data import read_box_rows
    from pipelines.gate import FrozenBoxImage, frozen_boxes

    data = DetectData(annotations=annotations, manifest=manifest, root=settings.root)
    known = read_box_rows(data)
    images = [
        FrozenBoxImage(row.path, row.boxes, "" if row.group == row.path else row.group)
        for row in known.rows[settings.split]
    ]
    return frozen_boxes(f"{manifest.name}, split {settings.split}", known.root, images)


def sweep_models(workspace: Workspace, *, older_than_days: float, dry: bool) -> Sweep:
    """Remove versions that no history, run, report or row of the store refers to.

    Raises:
        ModelError: If a history was altered.
        StoreError: If there is a store, and it cannot be read.
    """
    from medvit.registry.sweeping import sweep

    referred = _referred_by_runs(workspace.folder) | _referred_by_store(workspace)
    return sweep(workspace.models, referred=referred, older_than_days=older_than_days, dry=dry)


def _referred_by_runs(folder: Path) -> set[str]:
    """Return references and hashes in all files of the workspace but its models and cache."""
    found: set[str] = set()
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        if place.name in {"models", "cache", GATE_FOLDER}:
            continue
        files = place.rglob("*") if place.is_dir() else (place,)
        for file in files:
            if file.suffix in READ_SUFFIXES and file.is_file() and not file.is_symlink():
                found |= _named_in(file)
    return found


def _named_in(file: Path) -> set[str]:
    from medvit.registry.sweeping import references_in

    found: set[str] = set()
    for text in _pieces(file):
        found |= references_in(text)
        found |= set(SHA256.findall(text))
    return found


def _pieces(file: Path) -> Iterator[str]:
    """Yield a file in pieces that overlap."""
    tail = ""
    with file.open(encoding="utf-8", errors="replace") as stream:
        while block := stream.read(CHUNK_CHARACTERS):
            yield tail + block
            tail = block[-OVERLAP_CHARACTERS:]


def _referred_by_store(workspace: Workspace) -> set[str]:
    from medvit.registry.sweeping import references_in
    from medvit.store.models_named import models_named

    url = make_url(workspace.store_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        return set()
    found: set[str] = set()
    for text in models_named(workspace.store_url):
        found |= references_in(text) | set(SHA256.findall(text))
    return found
