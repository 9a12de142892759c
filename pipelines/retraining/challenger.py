"""A challenger as it is told of: its figures, its plan, the labels that look wrong, its card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medvit import atomic
from medvit.labels.dataset import DatasetVersion
from medvit.registry.lineage import Seen, seen_images
from pipelines.retraining.assignment import Assignment
from pipelines.retraining.strategy import Plan

SUSPECTS_FILE = "suspects.json"
"""Of a run: labels that look wrong, written before the challenger is registered."""


@dataclass(frozen=True, slots=True)
class Challenger:
    """A registered model that may take the champion's place.

    Attributes:
        reference: `name@version`.
        suspects: Training labels that are likely wrong, most suspicious first.
    """

    reference: str
    metrics: Mapping[str, Any]
    plan: Mapping[str, Any]
    suspects: tuple[SuspectRow, ...] = ()


@dataclass(frozen=True, slots=True)
class SuspectRow:
    """A label that is likely wrong, by its path in the manifest."""

    path: str
    label: str
    suggested: str
    confidence: float


def keep_suspects(folder: Path, suspects: Sequence[SuspectRow]) -> None:
    """Write the labels that look wrong into the folder of a run."""
    atomic.write_text(folder / SUSPECTS_FILE, json.dumps([asdict(each) for each in suspects]))


def read_suspects(folder: Path) -> tuple[SuspectRow, ...]:
    """Return the labels that look wrong; nothing where none were looked for."""
    file = folder / SUSPECTS_FILE
    if not file.is_file():
        return ()
    return tuple(SuspectRow(**each) for each in json.loads(file.read_text(encoding="utf-8")))


def training_facts(assignment: Assignment, plan: Plan) -> dict[str, Any]:
    """Return what the card of a challenger says of its training."""
    version = assignment.version
    return {
        "command": "retrain",
        "run": assignment.run,
        "dataset": version.facts,
        "data_sha256": version.sha256,
        "strategy": asdict(plan),
        "images": {split: sum(own.values()) for split, own in version.counts.items()},
    }


def learnt_from(version: DatasetVersion) -> Seen:
    """Return marks of the images of a version that are learnt from."""
    rows = [row for split in ("train", "val") for row in version.manifest.of(split)]
    return seen_images(version.folder, ((row.path, row.group) for row in rows))


def challenger_text(card: Mapping[str, Any]) -> str:
    """Return the model card for people.

    Args:
        card: Fields of `ModelCard`; `{reference}` is left for `register` to fill in.
    """
    training, metrics = card["training"], card["metrics"]
    data, plan = training["dataset"], training["strategy"]
    counts = ", ".join(f"{count} {split}" for split, count in sorted(training["images"].items()))
    lines = [
        "# {reference}",
        "",
        f"Made by `medvit retrain` from {', '.join(card['parents'])} and what readers decided.",
        "Whether it is better than its parent is for the gate to say, not for this card.",
        "",
        "## Training",
        "",
        f"- Data set {data['task']} version {data['version']}, SHA-256 `{data['sha256'][:16]}`: "
        f"{counts}.",
        f"- Strategy {plan['strategy']}: {plan['reason']}.",
        *(
            f"- {name} waits: {count} images, too few to be learnt."
            for name, count in plan["waiting"].items()
        ),
    ]
    if metrics.get("forgetting"):
        lines += ["", *_forgetting(metrics["forgetting"])]
    return "\n".join([*lines, ""])


def _forgetting(rows: Mapping[str, Mapping[str, float]]) -> list[str]:
    return [
        "## Old classes on frozen cases",
        "",
        "| class | cases | before | after (95 % interval) |",
        "|---|---|---|---|",
        *(
            f"| {name} | {row['n']} | {row['before']:.3f} | {row['after']:.3f} "
            f"({row['after_low']:.3f} to {row['after_high']:.3f}) |"
            for name, row in rows.items()
        ),
    ]
