"""Champion and challenger before the gate, on the cases that are frozen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medvit.labels.dataset import MANIFEST, DatasetVersion
from medvit.registry.registry import ModelVersion, find_model
from medvit.workspace import Workspace
from pipelines.retraining.assignment import is_box_detector

if TYPE_CHECKING:
    from medvit.data.box_images import BoxRow
    from pipelines.gate import FrozenCases


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate said; `report` is empty where nothing could be compared."""

    verdict: Literal["promote", "refuse", "undecided"]
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    report: str = ""


def judge_pair(
    champion: ModelVersion,
    challenger: str,
    version: DatasetVersion,
    workspace: Workspace,
    *,
    out: Path,
) -> Gate:
    """Return the verdict on a challenger; `undecided` where no case is frozen.

    Args:
        champion: In production.
        challenger: `name@version`.
        version: Holds the frozen cases.
        workspace: Holds both models.
        out: For the page.

    Raises:
        ModelError: If a model was altered.
        InputError: If a frozen case cannot be read.
    """
    from pipelines import gate

    if is_box_detector(champion):
        frozen = _frozen_boxes(version) or _first_frozen_boxes(champion, workspace)
    else:
        frozen = _frozen(version) or _frozen_of_parent(champion, version, workspace)
    if frozen is None:
        why = "no labelled case is frozen yet: nothing to compare the two models on"
        return Gate("undecided", (f"{why}; more decisions freeze some by themselves",))
    answer = gate.judge(
        champion,
        find_model(challenger, models=workspace.models),
        frozen,
        settings=gate.GateSettings(folder=workspace.folder / "gate"),
        out=out,
    )
    return Gate(answer.verdict, answer.reasons, answer.warnings, str(answer.report))


def _frozen(version: DatasetVersion) -> FrozenCases | None:
    from pipelines import gate

    is_nodule = version.task == "nodule"
    if not any(row.label or is_nodule for row in version.manifest.of("test")):
        return None
    if is_nodule:
        from pipelines.retraining.nodules import scans_of

        return gate.frozen_scans(f"version {version.number}, frozen", scans_of(version, "test"))
    return gate.frozen_images(version.folder / MANIFEST, split="test")


def _frozen_boxes(version: DatasetVersion) -> FrozenCases | None:
    """Return the frozen images that are labelled whole, None where no box is among them."""
    from pipelines.retraining.reviewed_boxes import read_reviewed

    rows = read_reviewed(version).rows["test"]
    return _with_boxes(f"version {version.number}, frozen", version.folder, rows)


def _first_frozen_boxes(champion: ModelVersion, workspace: Workspace) -> FrozenCases | None:
    """Return split test of what the champion was trained by, where it is still here."""
    from medvit.models.card import read_card
    from pipelines.retraining.box_lessons import first_boxes

    found = first_boxes(read_card(champion.folder), workspace)
    if found is None or not all((found.root / row.path).is_file() for row in found.rows["test"]):
        return None
    return _with_boxes("first training, split test", found.root, found.rows["test"])


def _with_boxes(name: str, root: Path, rows: Sequence[BoxRow]) -> FrozenCases | None:
    from pipelines import gate

    if not any(row.boxes for row in rows):
        return None
    named = [(row, "" if row.group == row.path else row.group) for row in rows]
    images = [gate.FrozenBoxImage(row.path, row.boxes, group) for row, group in named]
    return gate.frozen_boxes(name, root, images)


def _frozen_of_parent(
    champion: ModelVersion, version: DatasetVersion, workspace: Workspace
) -> FrozenCases | None:
    """Return split test of what the champion was trained by, where it is still here."""
    from medvit.models.card import read_card
    from pipelines import gate
    from pipelines.retraining.parent_data import parent_manifest

    if version.task != "defect":
        return None
    found = parent_manifest(read_card(champion.folder), workspace)
    if found is None:
        return None
    manifest, root = found
    rows = [row for row in manifest.of("test") if row.label]
    if not rows or not all((root / row.path).is_file() for row in rows):
        return None
    return gate.frozen_images(manifest.file, split="test", root=root)
