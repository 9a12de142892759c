"""A challenger for detectors of boxes: plan -> lessons -> detector -> figures -> model version."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from medvit.errors import ConfigError, NothingToDoError
from medvit.workspace import Workspace
from pipelines.retraining.assignment import Assignment
from pipelines.retraining.challenger import (
    Challenger,
    challenger_text,
    learnt_from,
    training_facts,
)
from pipelines.retraining.reviewed_boxes import ReviewedBoxes, box_marks, read_reviewed
from pipelines.retraining.strategy import (
    IMAGES_OF_A_NEW_CLASS,
    LABELS_TO_FINE_TUNE,
    LABELS_TO_TRAIN_ALL,
    Plan,
    Strategy,
)

if TYPE_CHECKING:
    from medvit.data.box_images import BoxImages, BoxRow
    from medvit.learn.fit import FitResult
    from medvit.models.card import ModelCard
    from medvit.models.heads.boxes import BoxDetector
    from pipelines.retraining.box_lessons import BoxLessons
    from pipelines.retraining.learning import Desk

BOX_STRATEGIES = ("head", "replay", "full")

_log = logging.getLogger(__name__)


def make_box_challenger(
    net: BoxDetector, card: ModelCard, assignment: Assignment, workspace: Workspace, *, desk: Desk
) -> Challenger:
    """Train a detector on the images that are labelled whole, and register it.

    Args:
        net: The champion; it stays as it is.
        card: Its card.
        assignment: Which data set version, and which strategy was asked for.
        workspace: Receives the challenger.
        desk: Where the training is kept.

    Raises:
        NothingToDoError: If no image is labelled whole.
        ConfigError: If the strategy is one for classifiers.
        InputError: If an image is missing.
    """
    from pipelines.retraining.box_learning import choose_points, grown, learn_boxes
    from pipelines.retraining.box_lessons import read_box_lessons

    version = assignment.version
    reviewed = read_reviewed(version)
    plan = _plan(card, assignment, reviewed)
    if reviewed.left_out:
        _log.warning("%s: they are not learnt from", reviewed.left_out)
    lessons = read_box_lessons(version, reviewed, card, workspace, new_classes=plan.new_classes)
    if not lessons.reviewed:
        msg = f"data set version {version.number} has no image of a size to learn from"
        raise NothingToDoError(msg, hint="review images of the size of the first training")
    arguments = dict(card.architecture.arguments)
    challenger = grown(net, arguments, new=len(plan.new_classes))
    result = learn_boxes(challenger, lessons, plan, desk=desk)
    thresholds, calibration = choose_points(challenger, card, lessons)
    metrics = _metrics(net, challenger, card, lessons)
    metrics |= _facts(lessons, reviewed, result, plan)
    fields = {
        "task": "defect",
        "architecture": {**card.architecture.model_dump(), "arguments": arguments},
        "classes": lessons.classes,
        "preprocessing": card.preprocessing,
        "calibration": calibration,
        "thresholds": thresholds,
        "training": training_facts(assignment, plan),
        "metrics": metrics,
        "parents": (card.reference,),
    }
    saved = _register(challenger, card, fields, assignment, workspace)
    return Challenger(saved.reference, metrics, asdict(plan))


def plan_boxes(
    rows: Sequence[BoxRow],
    *,
    known: Sequence[str],
    fresh: int,
    wanted: Strategy | Literal["auto"] = "auto",
) -> Plan:
    """Choose how much of a detector learns.

    Args:
        rows: Training images that are labelled whole.
        known: Classes of the champion.
        fresh: Images whose labels are new since the champion was made.
        wanted: `auto`, or the strategy that was asked for.

    Raises:
        ConfigError: If that is one for classifiers.
    """
    if wanted not in {"auto", *BOX_STRATEGIES}:
        msg = f"--strategy {wanted} is one for classifiers, and the champion finds boxes"
        raise ConfigError(msg, hint=f"choose auto, {', '.join(BOX_STRATEGIES)}")
    shown = Counter(label for row in rows for label in {box.label for box in row.boxes})
    counts = {name: n for name, n in sorted(shown.items()) if name not in known}
    new = tuple(name for name, n in counts.items() if n >= IMAGES_OF_A_NEW_CLASS)
    waiting = {name: n for name, n in counts.items() if n < IMAGES_OF_A_NEW_CLASS}
    chosen: Strategy = "head"
    why = f"{fresh} newly labelled images: pyramid and head learn, the backbone stays"
    if fresh >= LABELS_TO_TRAIN_ALL:
        chosen, why = "full", f"{fresh} newly labelled images are enough to train all weights"
    elif fresh >= LABELS_TO_FINE_TUNE:
        chosen, why = (
            "replay",
            f"{fresh} newly labelled images: all layers learn, early ones slowly",
        )
    if wanted != "auto":
        chosen, why = wanted, f"{wanted} was asked for"
    return Plan(chosen, why, new, waiting)


def _plan(card: ModelCard, assignment: Assignment, reviewed: ReviewedBoxes) -> Plan:
    rows = reviewed.rows["train"]
    if not rows:
        told = f"; {reviewed.left_out}" if reviewed.left_out else ""
        msg = f"data set version {assignment.version.number} has no image to learn boxes from"
        raise NothingToDoError(msg + told, hint="decide about every finding of some images")
    marks, contents = box_marks(assignment.version), assignment.version.contents
    now = {row.path: contents[row.path] for row in rows}
    fresh = sum(assignment.before.get(at) != marks[at] for at in now.values())
    return plan_boxes(rows, known=card.classes, fresh=fresh, wanted=assignment.wanted)


def _facts(
    lessons: BoxLessons, reviewed: ReviewedBoxes, result: FitResult, plan: Plan
) -> dict[str, Any]:
    return {
        "n": len(lessons.frozen.rows),
        "epochs": result.epochs,
        "cut_short": result.cut_short,
        "strategy": plan.strategy,
        "train_images": len(lessons.train.rows),
        "reviewed_images": lessons.reviewed,
        "hard_negatives": reviewed.rejected,
        "undecided_images": reviewed.undecided,
    }


def _metrics(
    champion: BoxDetector, challenger: BoxDetector, card: ModelCard, lessons: BoxLessons
) -> dict[str, Any]:
    """Return AP50 on frozen images, and what became of each old class there."""
    from pipelines.detecting.validation import answers_of, figures_of

    frozen = lessons.frozen
    if not any(map(len, frozen.boxes)):
        return {}
    after = figures_of(answers_of(challenger, frozen, classes=lessons.classes), frozen)
    metrics: dict[str, Any] = {"map50": after.map50, "map50_interval": after.map50_interval}
    old = _of_classes(frozen, len(card.classes))
    if not any(map(len, old.boxes)):
        return metrics
    before = figures_of(answers_of(champion, old, classes=card.classes), old)
    rows = {}
    for one, two in zip(before.classes, after.classes, strict=False):
        if one.score.ap50 is not None and two.ap50_interval is not None:
            low, high = two.ap50_interval
            rows[one.name] = {
                "n": one.score.truths,
                "before": one.score.ap50,
                "after": two.score.ap50,
                "after_low": low,
                "after_high": high,
            }
    return metrics | {"forgetting": rows, "figure": "AP50"}


def _of_classes(images: BoxImages, count: int) -> BoxImages:
    """Return images with the boxes of the first classes only."""
    from dataclasses import replace

    pairs = list(zip(images.boxes, images.labels, strict=True))
    boxes = tuple(own[labels < count] for own, labels in pairs)
    return replace(images, boxes=boxes, labels=tuple(labels[labels < count] for _, labels in pairs))


def _register(
    net: BoxDetector,
    card: ModelCard,
    fields: dict[str, Any],
    assignment: Assignment,
    workspace: Workspace,
) -> ModelCard:
    from pipelines.training.run import register

    return register(
        workspace,
        net.cpu(),
        name=card.name,
        card=fields,
        readme=challenger_text(fields),
        seen=learnt_from(assignment.version),
    )
