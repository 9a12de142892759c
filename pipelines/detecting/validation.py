"""How a detector of boxes does on images it does not learn from: figures, thresholds, chances."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from safetensors.torch import save_file

from medvit.data.box_images import BoxImages
from medvit.data.boxes.labelled import LabelledBoxes, PredictedBox, TrueBox
from medvit.data.surface import as_input
from medvit.inference.boxes import ScoredBoxes, detect
from medvit.learn.boxes import BoxObjective
from medvit.learn.weight_average import averaged
from medvit.metrics.average_precision import coco_ap, curve_of, mean_ap, score_class
from medvit.metrics.calibration import calibrate_marks
from medvit.metrics.detection_figures import DetectionFigures, Draws, measure_detection
from medvit.metrics.detection_matching import ClassMatches, match_coco
from medvit.metrics.precision_recall import boxes_by_threshold, curves_for_card
from medvit.models.heads.boxes import BoxDetector

BATCH = 16
USUAL_THRESHOLD = 0.3
"""For a class that split val does not show, where no other class tells."""

ROUNDS = 200
"""Draws of groups for the intervals of the model card; `medvit evaluate detection` takes more."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answers:
    """What a detector says of images whose boxes are known, in pixels of their canvases.

    Attributes:
        truth: The boxes that are there.
        found: Those that were found, an entry an image.
    """

    truth: LabelledBoxes
    found: list[ScoredBoxes]

    @property
    def predicted(self) -> list[PredictedBox]:
        """All boxes that were found."""
        return [
            PredictedBox(image, int(label), _xywh(box), float(score))
            for image, each in enumerate(self.found)
            for box, score, label in zip(each.boxes, each.scores, each.labels, strict=True)
        ]

    def matches(self) -> list[ClassMatches]:
        """Return which boxes hit, class by class, by the rules of COCO."""
        return match_coco(self.truth, self.predicted)


def answers_of(net: BoxDetector, images: BoxImages, *, classes: Sequence[str]) -> Answers:
    """Return what a detector says of images; it is put into evaluation mode."""
    net.eval()
    found: dict[int, ScoredBoxes] = {}
    by_size: dict[tuple[int, int], list[int]] = {}
    for place, size in enumerate(images.sizes):
        by_size.setdefault(size, []).append(place)
    for own in by_size.values():
        for start in range(0, len(own), BATCH):
            places = own[start : start + BATCH]
            batch = torch.stack([as_input(images.images[place]) for place in places])
            found |= zip(places, detect(net, batch), strict=True)
    return Answers(truth_of(images, classes=classes), [found[place] for place in range(len(found))])


def truth_of(images: BoxImages, *, classes: Sequence[str]) -> LabelledBoxes:
    """Return the labelled boxes of images as evaluation takes them."""
    boxes = tuple(
        TrueBox(image, int(label), _xywh(box), float(np.prod(box[2:] - box[:2])))
        for image, (own, labels) in enumerate(zip(images.boxes, images.labels, strict=True))
        for box, label in zip(own, labels, strict=True)
    )
    names = tuple(row.path for row in images.rows)
    places: dict[Hashable, int] = {name: at for at, name in enumerate(names)}
    labels_of: dict[Hashable, int] = {name: at for at, name in enumerate(classes)}
    return LabelledBoxes("boxes", names, tuple(classes), boxes, places, labels_of)


def _xywh(box: np.ndarray) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(edge) for edge in box)
    return x0, y0, x1 - x0, y1 - y0


def figures_of(answers: Answers, images: BoxImages) -> DetectionFigures:
    """Return average precision with intervals; groups of images are drawn whole."""
    groups = np.unique([row.group for row in images.rows], return_inverse=True)[1]
    draws = Draws(groups.astype(np.intp), ROUNDS, 0)
    return measure_detection(answers.truth, answers.predicted, rules="coco", draws=draws)


def curves_of(answers: Answers, *, split: str) -> dict[str, Any]:
    """Return for the model card precision by recall of each class, by score, at IoU 0.5."""
    curves = map(boxes_by_threshold, answers.matches())
    return curves_for_card(split, dict(zip(answers.truth.classes, curves, strict=True)))


def best_thresholds(answers: Answers) -> dict[str, float]:
    """Return for each class the score from which F1 at IoU 0.5 is highest.

    A class that is not shown takes the median of the others.
    """
    found: dict[str, float] = {}
    for name, matches in zip(answers.truth.classes, answers.matches(), strict=True):
        if matches.truths.sum() and len(matches.score):
            recall, precision = curve_of(matches)
            f1 = 2 * recall * precision / np.maximum(recall + precision, 1e-9)
            scores = matches.score[~matches.is_ignored[0]]
            found[name] = round(float(scores[int(f1.argmax())]) - 1e-6, 6)
    others = float(np.median([*found.values()])) if found else USUAL_THRESHOLD
    return {name: found.get(name, others) for name in answers.truth.classes}


def calibration_of(answers: Answers, images: BoxImages) -> dict[str, float]:
    """Return what turns scores into the chance of a hit at IoU 0.5; nothing if too few say."""
    matches = answers.matches()
    scores = np.concatenate([each.score for each in matches])
    hits = np.concatenate([each.is_hit[0] for each in matches])
    groups = [images.rows[at].group for each in matches for at in each.image]
    try:
        fitted = calibrate_marks(scores, hits, groups)
    except ValueError as error:
        logger.warning("scores are given as they are: %s", error)
        return {}
    return {**fitted.for_card(), "ece": round(fitted.ece, 4)}


def quick_figures(answers: Answers) -> dict[str, float]:
    """Return what a row of `results.csv` holds: mAP, and precision and recall at best F1."""
    matches = answers.matches()
    scores = [score_class(each, coco_ap) for each in matches]
    if not any(score.truths for score in scores):
        return {}
    means = mean_ap(scores)
    at_best = [_at_best(each) for each in matches if each.truths.sum()]
    precision, recall = np.mean(at_best, axis=0)
    return {
        "metrics/precision": float(precision),
        "metrics/recall": float(recall),
        "metrics/mAP50": float(means[0]),
        "metrics/mAP50-95": float(means.mean()),
    }


def _at_best(matches: ClassMatches) -> tuple[float, float]:
    recall, precision = curve_of(matches)
    if not len(recall):
        return 0.0, 0.0
    best = int((2 * recall * precision / np.maximum(recall + precision, 1e-9)).argmax())
    return float(precision[best]), float(recall[best])


class BoxFigures(Callback):
    """Adds a row an epoch, and keeps the weights of the best epoch on held-out images.

    Rows are those of the mean of the weights, which is what a training ends with. A resumed
    training goes on with its rows.

    Args:
        images: Held-out images; none at all: only losses are kept.
        classes: Names in the order of the outputs.
        every: Epochs from one look at them to the next.
        best: File for the weights of the epoch with the highest mean of mAP50 and mAP50-95.
    """

    def __init__(
        self, images: BoxImages, *, classes: Sequence[str], every: int, best: Path
    ) -> None:
        self.images = images
        self.classes = classes
        self.every = every
        self.best = best
        self.rows: list[dict[str, float]] = []
        self.best_rank = -1.0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the row of the epoch."""
        epoch = trainer.current_epoch + 1
        row = {"epoch": float(epoch)}
        for name in ("loss", "label", "box", "centre"):
            row[f"train/{name}"] = float(trainer.callback_metrics[name])
        row["lr"] = max(float(group["lr"]) for group in trainer.optimizers[0].param_groups)
        if self.images.rows and (epoch % self.every == 0 or epoch == trainer.max_epochs):
            row |= self._look(trainer, pl_module)
        self.rows.append(row)

    def _look(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        net = cast("BoxObjective", pl_module.objective).detector
        with averaged(trainer, pl_module):
            figures = quick_figures(answers_of(net, self.images, classes=self.classes))
            rank = (figures.get("metrics/mAP50", 0) + figures.get("metrics/mAP50-95", 0)) / 2
            if rank > self.best_rank:
                self.best_rank = rank
                self.best.parent.mkdir(parents=True, exist_ok=True)
                tensors = {key: value.contiguous() for key, value in net.state_dict().items()}
                save_file(tensors, self.best)
        pl_module.train()
        return figures

    def state_dict(self) -> dict[str, Any]:
        """Return the rows and how good the best was."""
        return {"rows": self.rows, "best_rank": self.best_rank}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the rows of an interrupted training."""
        self.rows = list(state_dict["rows"])
        self.best_rank = float(state_dict["best_rank"])
