"""Which models there are, and which one a name means.

A workspace keeps `models/<name>/<version>/`; the project ships one model per
task. A name alone means the version in `models/<name>/production`, else the
shipped one, else the newest in the workspace.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medvit.errors import ModelError
from medvit.models.weights import CARD_FILE, NAME_PATTERN, read_card

Task = Literal["nodule", "defect", "backbone"]
SHIPPED = Path(__file__).resolve().parents[1] / "weights"
DEFAULT_NAMES: dict[Task, str] = {"nodule": "nodule-swin3d", "defect": "steel-defects"}
POINTER = "production"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version of a model and where it lies."""

    name: str
    version: str
    task: Task
    folder: Path
    sha256: str
    production: bool
    metrics: dict[str, Any]

    @property
    def reference(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


def list_models(models: Path | None = None, *, shipped: Path = SHIPPED) -> list[ModelVersion]:
    """Return every version, shipped and in a workspace's `models` folder, by name and age."""
    folders = [path.parent for path in sorted(shipped.glob(f"*/{CARD_FILE}"))]
    if models is not None:
        own = models.glob(f"*/*/{CARD_FILE}")
        folders += [path.parent for path in sorted(own, key=lambda path: path.stat().st_mtime_ns)]
    cards = [(folder, read_card(folder)) for folder in folders]
    found: dict[str, list[tuple[Path, str]]] = {}
    for folder, card in cards:
        found.setdefault(card.name, []).append((folder, card.version))
    current = {name: _production(name, versions, models) for name, versions in found.items()}
    return [
        ModelVersion(
            card.name,
            card.version,
            card.task,
            folder,
            card.weights_sha256,
            production=folder == current[card.name],
            metrics=card.metrics,
        )
        for folder, card in sorted(cards, key=lambda item: item[1].name)
    ]


def find_model(
    reference: str | None,
    *,
    task: Task | None = None,
    models: Path | None = None,
    shipped: Path = SHIPPED,
) -> ModelVersion:
    """Return the model that `name`, `name@version` or a task alone means.

    Args:
        reference: None takes the default model of the task.
        models: The workspace's `models` folder.

    Raises:
        ModelError: If there is none, or it serves another task.
    """
    wanted = reference or DEFAULT_NAMES[task or "nodule"]
    name, _, version = wanted.partition("@")
    known = list_models(models, shipped=shipped)
    for model in known:
        if model.name == name and (model.version == version if version else model.production):
            if task is not None and model.task != task:
                msg = f"{model.reference} is a {model.task} model, but the task is {task}"
                raise ModelError(msg, hint="choose one with `medvit models list`")
            return model
    names = ", ".join(model.reference for model in known) or "none"
    msg = f"there is no model {wanted!r}"
    raise ModelError(msg, hint=f"known models: {names}")


def version_folder(models: Path, name: str) -> Iterator[Path]:
    """Yield free folders for the next versions of a name: 1, 2, 3 ...

    Raises:
        ModelError: If the name could not be a folder's.
    """
    check_name(name)
    number = 1
    while True:
        if not (models / name / str(number)).exists():
            yield models / name / str(number)
        number += 1


def production_version(models: Path, name: str, *, shipped: Path = SHIPPED) -> str | None:
    """Return the version that a name alone means, None if there is no such model."""
    known = [model for model in list_models(models, shipped=shipped) if model.name == name]
    return next((model.version for model in known if model.production), None)


def pinned_version(models: Path, name: str) -> str | None:
    """Return the version that was promoted, None if none ever was."""
    try:
        lines = (models / name / POINTER).read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return None
    return lines[0] if lines else None


def check_name(name: str) -> None:
    """Say so if a name could not be a folder's.

    Raises:
        ModelError: With the rule.
    """
    if not re.match(NAME_PATTERN, name):
        msg = f"model name {name!r} must match {NAME_PATTERN}"
        raise ModelError(msg)


def _production(name: str, versions: list[tuple[Path, str]], models: Path | None) -> Path:
    wanted = None if models is None else pinned_version(models, name)
    for folder, version in versions:
        if version == wanted:
            return folder
    shipped = [folder for folder, _ in versions if models is None or models not in folder.parents]
    return shipped[0] if shipped else versions[-1][0]
