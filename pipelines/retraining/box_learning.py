"""A challenger from a champion that finds boxes: outputs for new classes, then learning."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from medvit.learn.boxes import BoxObjective
from medvit.learn.fit import FitSettings, fit
from medvit.learn.tuning.frozen import train_only
from medvit.models.heads.boxes import PRIOR_PROBABILITY, BoxDetector
from pipelines.retraining.box_lessons import BoxLessons, only_images
from pipelines.retraining.strategy import Plan, Strategy

if TYPE_CHECKING:
    from medvit.learn.fit import FitResult
    from medvit.models.card import ModelCard
    from pipelines.retraining.learning import Desk

BATCH = 16
MOST_MINUTES = 10.0
"""Unless told otherwise."""

LEAST_BOXES = 5
"""Of a class in split val, to choose its threshold anew."""

Choice = tuple[dict[str, float], dict[str, float]]
"""Thresholds by class, and calibration."""


@dataclass(frozen=True, slots=True)
class BoxCourse:
    """How long and how fast a detector learns; a step is a batch of 16.

    Attributes:
        backbone_lr: Share of `lr`; 0 leaves the backbone as it is.
    """

    steps: int
    lr: float
    backbone_lr: float


COURSES: dict[Strategy, BoxCourse] = {
    "head": BoxCourse(240, 5e-4, 0.0),
    "replay": BoxCourse(480, 5e-4, 0.1),
    "full": BoxCourse(960, 1e-3, 1.0),
}


def grown(champion: BoxDetector, arguments: dict[str, Any], *, new: int) -> BoxDetector:
    """Return a copy with so many more classes; what it says of old ones is the same to the bit.

    Args:
        champion: Stays as it is.
        arguments: Of `defect_detector`; `classes` is brought up to date.
        new: New classes, behind the old ones; they start as in a first training.
    """
    net = deepcopy(champion)
    if not new:
        return net
    old = net.head.labels
    more = nn.Conv2d(old.in_channels, old.out_channels + new, 3, padding=1)
    with torch.no_grad():
        nn.init.normal_(more.weight, std=0.01, generator=torch.Generator().manual_seed(0))
        nn.init.constant_(more.bias, -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY))  # type: ignore[arg-type]
        more.weight[: old.out_channels] = old.weight
        more.bias[: old.out_channels] = old.bias  # type: ignore[assignment,index]
    net.head.labels = more
    net.classes = arguments["classes"] = old.out_channels + new
    return net


def learn_boxes(net: BoxDetector, lessons: BoxLessons, plan: Plan, *, desk: Desk) -> FitResult:
    """Train a detector in place; an interrupted training goes on from its checkpoint.

    Reviewed images come as often as replayed ones.
    """
    from medvit.data.augment.boxes import BoxViews, BoxViewSettings
    from medvit.data.box_images import box_batches

    course = COURSES[plan.strategy]
    replayed = len(lessons.train.rows) - lessons.reviewed
    times = max(1, round(replayed / max(1, lessons.reviewed)))
    places = [*range(lessons.reviewed)] * times
    places += range(lessons.reviewed, len(lessons.train.rows))
    batch = min(BATCH, len(places))
    shown, views = only_images(lessons.train, places), BoxViews(BoxViewSettings())
    batches = box_batches(shown, views=views, batch_size=batch, seed=0)
    if not course.backbone_lr:
        train_only(net, chosen=lambda name: not name.startswith("backbone."))
    lr = course.lr * (batch / BATCH) ** 0.5
    settings = FitSettings(
        epochs=max(1, round(course.steps / len(batches))),
        lr=lr,
        warmup_epochs=0.5,
        max_minutes=desk.max_minutes or MOST_MINUTES,
        ema_decay=0.98,
    )
    objective = BoxObjective(net, lr=lr, backbone_lr=lr * course.backbone_lr)
    result = fit(objective, batches, settings=settings, folder=desk.folder, progress=desk.progress)
    net.eval()
    return result


def choose_points(net: BoxDetector, card: ModelCard, lessons: BoxLessons) -> Choice:
    """Return thresholds and calibration by split val.

    A class that has too few boxes there keeps the champion's threshold; a new one takes the
    median of the others.
    """
    from pipelines.detecting.validation import answers_of, best_thresholds, calibration_of

    kept = {name: value for name, value in card.thresholds.items() if name in lessons.classes}
    if not lessons.val.rows:
        return _with_new(kept, lessons.classes), dict(card.calibration)
    answers = answers_of(net, lessons.val, classes=lessons.classes)
    counts = torch.bincount(
        torch.tensor([box.label for box in answers.truth.boxes], dtype=torch.long),
        minlength=len(lessons.classes),
    )
    best = best_thresholds(answers)
    shown = {
        name: best[name]
        for name, n in zip(lessons.classes, counts.tolist(), strict=True)
        if n >= LEAST_BOXES
    }
    fitted = calibration_of(answers, lessons.val) or dict(card.calibration)
    return _with_new(kept | shown, lessons.classes), fitted


def _with_new(known: dict[str, float], classes: tuple[str, ...]) -> dict[str, float]:
    from pipelines.detecting.validation import USUAL_THRESHOLD

    usual = sorted(known.values())[len(known) // 2] if known else USUAL_THRESHOLD
    return {name: known.get(name, usual) for name in classes}
