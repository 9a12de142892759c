"""What a challenger is to learn, and which of its labels nobody has tried yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from medvit.errors import NothingToDoError
from medvit.labels.dataset import DatasetVersion, read_dataset
from medvit.models.card import read_card
from medvit.registry.lineage import image_mark, lineage_of
from medvit.registry.registry import ModelVersion, list_models
from medvit.workspace import Workspace
from pipelines.retraining.snapshot import Task, home_of
from pipelines.retraining.strategy import Strategy


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a challenger is to be made of.

    Attributes:
        before: Labels by content that the champion was made with.
        run: Command and number of the run it is made in, such as `retrain/3`.
        wanted: Strategy that was asked for.
    """

    champion: ModelVersion
    version: DatasetVersion
    before: Mapping[str, str]
    run: str
    wanted: Strategy | Literal["auto"] = "auto"


def labels_of(model: ModelVersion, workspace: Workspace, version: DatasetVersion) -> dict[str, str]:
    """Return the labels by content that a model was made with, as far as they are known.

    A model that retraining made names its data set version. Of another one it is known which
    images it was trained on; their labels of today are taken for those of then.
    """
    facts = read_card(model.folder).training.get("dataset") or {}
    if not {"task", "version", "sha256"} <= facts.keys():
        return _labels_by_lineage(model, workspace, version)
    folder = home_of(workspace, cast("Task", facts["task"])) / str(facts["version"])
    if not folder.is_dir():
        return {}
    made_with = read_dataset(folder)
    return marks_of(model, made_with) if made_with.sha256 == facts["sha256"] else {}


def marks_of(model: ModelVersion, version: DatasetVersion) -> dict[str, str]:
    """Return by content what a model of this kind learns of a case: its label, or its marks."""
    if is_box_detector(model):
        from pipelines.retraining.reviewed_boxes import box_marks

        return box_marks(version)
    return version.marked


def is_box_detector(model: ModelVersion) -> bool:
    """Whether a model finds boxes on surface images."""
    return read_card(model.folder).architecture.builder == "defect_detector"


def _labels_by_lineage(
    model: ModelVersion, workspace: Workspace, version: DatasetVersion
) -> dict[str, str]:
    cases = lineage_of(model, workspace.models).seen.cases
    if not cases or version.task != "defect":
        return {}
    marks = marks_of(model, version)
    learnt = [row for row in version.manifest.rows if row.split in ("train", "val")]
    return {
        version.contents[row.path]: marks[version.contents[row.path]]
        for row in learnt
        if version.contents[row.path] in marks and image_mark(version.folder / row.path) in cases
    }


def new_labels(model: ModelVersion, version: DatasetVersion, before: Mapping[str, str]) -> int:
    """Return how many cases have another label, or other marks, than before."""
    now = marks_of(model, version)
    return sum(before.get(content) != label for content, label in now.items())


def require_news(
    version: DatasetVersion, champion: ModelVersion, workspace: Workspace, *, least: int
) -> int:
    """Return how many labels are new since the last challenger of this champion was made.

    Raises:
        NothingToDoError: If there are none, or fewer than `least`.
    """
    last = _last_attempt(champion, workspace)
    count = new_labels(champion, version, labels_of(last, workspace, version))
    if not count:
        msg = f"no label is new since {last.reference} was trained"
        hint = "review more findings"
        if last is not champion:
            hint += f"; its gate report says whether to `medvit models promote {last.reference}`"
        raise NothingToDoError(msg, hint=hint)
    if count < least:
        msg = f"{count} labels are new, and at least {least} are asked for"
        raise NothingToDoError(msg, hint="review more, or lower --min-labels")
    return count


def _last_attempt(champion: ModelVersion, workspace: Workspace) -> ModelVersion:
    own = [
        each
        for each in list_models(workspace.models)
        if each.name == champion.name
        and each.version.isdecimal()
        and champion.reference in read_card(each.folder).parents
    ]
    return max(own, key=lambda each: int(each.version), default=champion)
