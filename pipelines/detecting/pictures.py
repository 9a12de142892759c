"""What a training of boxes leaves to look at in its run folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medvit import atomic
from medvit.data.box_images import BoxBatch, BoxImages
from medvit.data.surface import GREY_LEVELS
from medvit.inference.boxes import ScoredBoxes, above
from medvit.metrics.detection_figures import DetectionFigures, recalls
from medvit.metrics.detection_matching import box_iou
from medvit.report.box_pictures import (
    DrawnBox,
    write_box_labels,
    write_box_mosaic,
    write_precision_curves,
)
from medvit.report.training_pictures import MOST_CELLS, write_confusion
from pipelines.classifying.pictures import ARGS_FILE, SHOWN_BATCHES
from pipelines.config import write_config
from pipelines.detecting.config import DetectConfig
from pipelines.detecting.data import PROBLEMS_FILE, BoxSplits
from pipelines.detecting.validation import Answers

NOTHING = "(nothing)"
LEAST_IOU = 0.5


def picture_splits(folder: Path, config: DetectConfig, splits: BoxSplits) -> None:
    """Write `args.yaml`, `labels.jpg` and, where anything was wrong, `problems.csv`."""
    write_config(folder / ARGS_FILE, config)
    counts = {}
    for name, images in splits.images.items():
        labels = np.concatenate([np.empty(0, dtype=np.int64), *images.labels])
        found = np.bincount(labels, minlength=len(splits.classes)).tolist()
        counts[name] = dict(zip(splits.classes, found, strict=True))
    boxes = np.concatenate([own for each in splits.images.values() for own in each.boxes])
    write_box_labels(folder / "labels.jpg", counts, boxes[:, 2:] - boxes[:, :2])
    if splits.problems:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("file", "problem"))
        writer.writerows((each.file, each.message) for each in splits.problems)
        atomic.write_text(folder / PROBLEMS_FILE, text.getvalue())


def picture_box_batches(
    folder: Path, batches: Iterable[BoxBatch], *, classes: Sequence[str]
) -> None:
    """Write `train_batch0.jpg` and on: what the network sees at the first steps."""
    for step, batch in enumerate(islice(batches, SHOWN_BATCHES)):
        levels = (batch.pixels * GREY_LEVELS).round().byte().numpy()
        images = [each[0] if len(each) == 1 else each.transpose(1, 2, 0) for each in levels]
        boxes = [
            _drawn(own.numpy().astype(np.float64), labels.tolist())
            for own, labels in zip(batch.boxes, batch.labels, strict=True)
        ]
        write_box_mosaic(folder / f"train_batch{step}.jpg", images, boxes, classes=classes)


def _drawn(
    boxes: NDArray[np.float64], labels: Sequence[int], scores: Sequence[float] | None = None
) -> list[DrawnBox]:
    found: Sequence[float | None] = scores or [None] * len(labels)
    return [
        DrawnBox((float(x0), float(y0), float(x1), float(y1)), int(label), score)
        for (x0, y0, x1, y1), label, score in zip(boxes, labels, found, strict=True)
    ]


def picture_found(
    folder: Path, images: BoxImages, answers: Answers, *, thresholds: dict[str, float], name: str
) -> None:
    """Write `confusion_matrix.png` and pictures of labels and answers, at the thresholds.

    Args:
        folder: The run folder.
        images: That were not trained on.
        answers: Of these images.
        thresholds: By class.
        name: Of the split.
    """
    classes = answers.truth.classes
    shown = [above(found, classes, thresholds) for found in answers.found]
    counts = confusion_of(images, shown, classes=len(classes))
    title = f"boxes of split {name}, {len(images.rows)} images, last epoch"
    names = [*classes, NOTHING]
    write_confusion(folder / "confusion_matrix.png", counts, classes=names, title=title)
    step = max(1, len(images.rows) // MOST_CELLS)
    chosen = range(0, len(images.rows), step)[:MOST_CELLS]
    pixels = [images.images[at] for at in chosen]
    true = [_drawn(images.boxes[at], images.labels[at].tolist()) for at in chosen]
    write_box_mosaic(folder / "val_batch0_labels.jpg", pixels, true, classes=classes)
    said = [
        _drawn(shown[at].boxes, shown[at].labels.tolist(), shown[at].scores.tolist())
        for at in chosen
    ]
    write_box_mosaic(folder / "val_batch0_pred.jpg", pixels, said, classes=classes)


def picture_precision(folder: Path, figures: DetectionFigures, *, name: str) -> None:
    """Write `PR_curve.png`."""
    curves = {
        each.name: (recalls(), each.precision, float(each.score.ap50))
        for each in figures.classes
        if each.score.ap50 is not None
    }
    title = f"split {name}: mAP50 {figures.map50:.3f}"
    write_precision_curves(folder / "PR_curve.png", curves, title=title)


def confusion_of(
    images: BoxImages, found: Sequence[ScoredBoxes], *, classes: int
) -> list[list[int]]:
    """Return true by predicted classes of boxes that lie alike (IoU 0.5); the last is nothing.

    The best box takes the true one that it overlaps most and that is still free, whatever
    its class.
    """
    counts = [[0] * (classes + 1) for _ in range(classes + 1)]
    for boxes, labels, said in zip(images.boxes, images.labels, found, strict=True):
        is_free = np.ones(len(boxes), dtype=bool)
        iou = box_iou(_sized(said.boxes), _sized(boxes), np.zeros(len(boxes), dtype=bool))
        for at, label in enumerate(said.labels.tolist()):
            reach = np.where(is_free, iou[at], -1.0)
            best = int(reach.argmax()) if len(reach) else -1
            if best >= 0 and reach[best] >= LEAST_IOU:
                is_free[best] = False
                counts[int(labels[best])][label] += 1
            else:
                counts[classes][label] += 1
        for label in labels[is_free].tolist():
            counts[int(label)][classes] += 1
    return counts


def _sized(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
