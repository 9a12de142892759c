"""Which models there are, and which one a name means.

A workspace keeps `models/<name>/<version>/`; the project ships one model per
task. A name alone means the version in `models/<name>/production`, else the
shipped one, else the newest in the workspace.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from medvit.errors import ModelError
from medvit.models.card import CARD_FILE, NAME_PATTERN, ModelCard, figures_of, read_card
from medvit.registry.index import read_index

Task = Literal["nodule", "defect", "backbone"]
SHIPPED = Path(__file__).resolve().parents[1] / "weights"
DEFAULT_NAMES: dict[Task, str] = {"nodule": "nodule-swin3d", "defect": "steel-defects"}
POINTER = "production"
README = "README.md"
"""Text of the model card for people, beside the weights."""
FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "map50")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version of a model and where it lies.

    Attributes:
        metrics: Figures of its card, without curves.
    """

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

    @property
    def measured(self) -> str:
        """Its first figure in a few words; empty where none was taken of held-out cases."""
        froc = next((v for v in self.metrics.values() if isinstance(v, dict) and "cpm" in v), None)
        if froc is not None:
            return f"CPM {float(froc['cpm']):.3f} on {froc.get('n_scans', '?')} scans"
        for name in FIGURES:
            value = self.metrics.get(name)
            if isinstance(value, int | float):
                return f"{name.replace('_', ' ')} {value:.3f}"
        return ""


def list_models(models: Path | None = None, *, shipped: Path = SHIPPED) -> list[ModelVersion]:
    """Return every version, shipped and in a workspace's `models` folder, by name and age.

    A version whose card is broken is left out with a warning; `verify` names it.
    """
    found: dict[str, list[ModelVersion]] = {}
    for version in [*_shipped(shipped), *_own(models)]:
        found.setdefault(version.name, []).append(version)
    listed: list[ModelVersion] = []
    for name in sorted(found):
        meant = _production(found[name], models)
        listed += [replace(each, production=each is meant) for each in found[name]]
    return listed


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
    model = _straight(name, version, models, shipped=shipped)
    if model is None:
        known = list_models(models, shipped=shipped)
        named = (each for each in known if each.name == name)
        model = next(
            (m for m in named if (m.version == version if version else m.production)), None
        )
        if model is None:
            raise _unknown(wanted, known, models)
    if task is not None and model.task != task:
        msg = f"{model.reference} is a {model.task} model, but the task is {task}"
        raise ModelError(msg, hint="choose one with `medvit models list`")
    return model


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


def _straight(
    name: str, version: str, models: Path | None, *, shipped: Path
) -> ModelVersion | None:
    """Return a model without a look at any other; None where that does not do."""
    if models is None or not re.match(NAME_PATTERN, name):
        return None
    ours = next((each for each in _shipped(shipped) if each.name == name), None)
    meant = pinned_version(models, name) or (ours.version if ours else None)
    wanted = version or meant
    if wanted is None or meant is None:
        return None
    folder = models / name / wanted
    if not (folder / CARD_FILE).is_file():
        is_ours = ours is not None and ours.version == wanted
        return replace(ours, production=wanted == meant) if ours and is_ours else None
    card = read_card(folder)
    if (card.name, card.version) != (name, wanted):
        return None
    return _version(card, folder, production=wanted == meant)


def _version(card: ModelCard, folder: Path, *, production: bool = False) -> ModelVersion:
    return ModelVersion(
        card.name,
        card.version,
        card.task,
        folder,
        card.weights_sha256,
        production=production,
        metrics=figures_of(card),
    )


def _unknown(wanted: str, known: Sequence[ModelVersion], models: Path | None) -> ModelError:
    name, _, version = wanted.partition("@")
    if models is not None and re.match(NAME_PATTERN, name):
        promoted = pinned_version(models, name)
        version = version or promoted or ""
        if version and (models / name / version / CARD_FILE).is_file():
            read_card(models / name / version)  # says what is wrong with it
        if version == promoted:
            msg = f"{name}@{version} is in production, but {models / name / version} is gone"
            return ModelError(msg, hint=f"restore it, or medvit models rollback {name}")
    names = ", ".join(model.reference for model in known) or "none"
    msg = f"there is no model {wanted!r}"
    return ModelError(msg, hint=f"known models: {names}")


def _shipped(shipped: Path) -> Iterator[ModelVersion]:
    for path in sorted(shipped.glob(f"*/{CARD_FILE}")):
        yield _version(read_card(path.parent), path.parent)


def _own(models: Path | None) -> Iterator[ModelVersion]:
    for entry in () if models is None else read_index(models):
        if models is None or entry.fault:
            _log.warning("left out: %s", entry.fault)
            continue
        yield ModelVersion(
            entry.name,
            entry.version,
            cast("Task", entry.task),
            models / entry.folder,
            entry.sha256,
            production=False,
            metrics=entry.metrics,
        )


def _production(versions: Sequence[ModelVersion], models: Path | None) -> ModelVersion | None:
    """Return what a name means, given its versions: the shipped ones first, then by age.

    Nothing, if what was promoted is gone: another model must not step in unasked.
    """
    wanted = None if models is None else pinned_version(models, versions[0].name)
    if wanted is not None:
        return next((each for each in versions if each.version == wanted), None)
    shipped = [each for each in versions if models is None or models not in each.folder.parents]
    return shipped[0] if shipped else versions[-1]
