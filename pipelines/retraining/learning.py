"""A challenger from a champion: rows for new classes, then as much learning as was planned."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from medvit.errors import ConfigError, InputError
from medvit.learn.classify import fit_temperature, predict_features, predict_logits
from medvit.learn.tuning.tuned import Tuned
from medvit.models.heads.classify import DefectClassifier
from pipelines.retraining.lessons import Lessons
from pipelines.retraining.strategy import Plan, Strategy

if TYPE_CHECKING:
    from medvit.learn.fit import FitResult, Progress
    from medvit.learn.tuning.tuned import Method
    from medvit.models.card import ModelCard

MOST_MOVED = 0.01
"""Share of old images that a new class may take."""

BATCH = 32


@dataclass(frozen=True, slots=True)
class Course:
    """How long and how fast weights learn; for a batch of 32."""

    tuning: Method
    epochs: int
    lr: float


COURSES: dict[Strategy, Course] = {
    "adapter": Course("adapter", 20, 1e-3),
    "head": Course("head", 20, 1e-3),
    "replay": Course("layer_decay", 15, 2e-4),
    "full": Course("full", 30, 5e-4),
}


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a training is kept, who hears of it, and how long it may take.

    Attributes:
        folder: Of the run; an interrupted training goes on from its checkpoint there.
    """

    folder: Path
    progress: Progress | None = None
    max_minutes: float | None = None


@dataclass(frozen=True, slots=True)
class Learnt:
    """A challenger and how a card describes it.

    Attributes:
        arguments: Of `defect_classifier`.
        epochs: Whole ones; 0 where nothing was trained.
    """

    net: DefectClassifier
    arguments: dict[str, Any]
    temperature: float
    epochs: int
    seconds: float
    cut_short: bool


def learn(
    champion: DefectClassifier,
    card: ModelCard,
    lessons: Lessons,
    plan: Plan,
    *,
    desk: Desk,
) -> Learnt:
    """Return a challenger; the champion stays as it is.

    Raises:
        InputError: If a new class cannot be placed beside the old ones.
        ConfigError: If the champion cannot learn as it was asked to.
    """
    net = deepcopy(champion)
    arguments = deepcopy(dict(card.architecture.arguments))
    epochs, seconds, cut_short = 0, 0.0, False
    if plan.strategy == "refit":
        _refit(net, arguments, lessons)
    else:
        _grow(net, arguments, lessons, plan.new_classes)
    if plan.strategy not in ("refit", "prototype"):
        result = _train(net, arguments, lessons, COURSES[plan.strategy], desk=desk)
        epochs, seconds, cut_short = result.epochs, result.seconds, result.cut_short
    temperature = float(card.calibration.get("temperature", 1.0))
    moved = epochs or plan.strategy == "refit"
    if moved and len(lessons.val.labels.unique()) == len(lessons.classes):  # type: ignore[no-untyped-call]
        temperature = fit_temperature(predict_logits(net, lessons.val.images), lessons.val.labels)
    return Learnt(net.eval(), arguments, temperature, epochs, seconds, cut_short)


def count_corrections(champion: DefectClassifier, lessons: Lessons, fresh: Sequence[bool]) -> int:
    """Return how many new training images of known classes the champion calls something else."""
    places = [at for at, is_fresh in enumerate(fresh) if is_fresh]
    known = [at for at in places if int(lessons.train.labels[at]) < champion.classes]
    if not known:
        return 0
    guess = predict_logits(champion, lessons.train.images[known]).argmax(dim=1)
    return int((guess != lessons.train.labels[known]).sum())


def _refit(net: DefectClassifier, arguments: dict[str, Any], lessons: Lessons) -> None:
    """Fit the head anew on the images that it holds and on those of the lessons."""
    from medvit.learn.tuning.kernel import refit_kernel_head
    from medvit.models.heads.kernel import KernelHead

    if not isinstance(net.head, KernelHead):
        msg = (
            f"strategy refit is for heads that hold labelled images, not {type(net.head).__name__}"
        )
        raise ConfigError(msg, hint="leave --strategy out, or name another one")
    features = predict_features(net, lessons.train.images)
    try:
        head = refit_kernel_head(net.head, features, lessons.train.labels, names=lessons.classes)
    except ValueError as error:
        raise InputError(
            str(error), hint="name --strategy adapter, which trains instead"
        ) from error
    net.head = head
    arguments["head"] = {"kind": "kernel", "keys": len(head.support)}
    arguments["classes"] = len(lessons.classes)


def _grow(
    net: DefectClassifier, arguments: dict[str, Any], lessons: Lessons, new: Sequence[str]
) -> None:
    """Append a row for each new class; each bias is set on reviewed images of the others."""
    if not new:
        return
    from medvit.learn.tuning.novel_class import add_novel_class

    features = predict_features(net, lessons.train.images)
    labels = lessons.train.labels
    old = len(lessons.classes) - len(new)
    val = predict_features(net, lessons.val.images)[lessons.val.labels < old]
    held_out = torch.cat([val, features[labels < old]])
    if lessons.known is not None:
        held_out = torch.cat([held_out, predict_features(net, lessons.known)])
    for number, name in enumerate(new, start=old):
        support: Tensor = features[labels == number]
        try:
            head = add_novel_class(net.head, support, held_out, most_moved=MOST_MOVED)
        except ValueError as error:
            msg = f"new class {name}: {error}"
            hint = "accept or relabel images of known classes as well, then retrain"
            raise InputError(msg, hint=hint) from error
        base = arguments.get("head") or {"kind": "linear"}
        net.head = head
        means, directions = head.old_means.shape
        plan = {"kind": "novel", "means": means, "directions": directions, "base": base}
        arguments["head"] = plan
        held_out = torch.cat([held_out, support])
    arguments["classes"] = len(lessons.classes)


def _train(
    net: DefectClassifier,
    arguments: dict[str, Any],
    lessons: Lessons,
    course: Course,
    *,
    desk: Desk,
) -> FitResult:
    from torch.utils.data import DataLoader

    from medvit.data.augment.surface import SurfaceViews, ViewSettings
    from medvit.data.surface import EpochOrder, LabelledViews
    from medvit.learn.classify import TunedObjective
    from medvit.learn.fit import FitSettings, fit
    from medvit.learn.longtail.losses import build_loss

    train = lessons.train
    batch = min(BATCH, len(train.paths))
    side_px = train.images.shape[1]
    views = SurfaceViews(ViewSettings(side_px=max(32, side_px * 7 // 8), min_area=0.6))
    batches = DataLoader(
        LabelledViews(train.images, train.targets, views=views, seed=0),
        batch_size=batch,
        sampler=EpochOrder(len(train.paths), seed=0),
        drop_last=True,
    )
    counts = train.counts(classes=len(lessons.classes)).clamp(min=1)
    lr = course.lr * (batch / BATCH) ** 0.5
    objective = TunedObjective(
        net,
        loss=build_loss("logit_adjustment", counts, label_smoothing=0.05),
        tuned=_prepare(net, arguments, course),
        lr=lr,
    )
    settings = FitSettings(epochs=course.epochs, lr=lr, max_minutes=desk.max_minutes)
    return fit(objective, batches, settings=settings, folder=desk.folder, progress=desk.progress)


def _prepare(net: DefectClassifier, arguments: dict[str, Any], course: Course) -> Tuned:
    """Freeze, open or extend the network; adapters of an earlier retraining learn on."""
    from medvit.learn.tuning.frozen import train_only
    from medvit.learn.tuning.methods import prepare

    if course.tuning == "adapter" and "adapter_width" in (arguments.get("extras") or {}):
        train_only(net, chosen=lambda name: name.startswith("head.") or ".adapter." in name)
        return Tuned()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tuned = prepare(net, course.tuning)
    if tuned.extras:
        arguments["extras"] = {**(arguments.get("extras") or {}), **tuned.extras}
    return tuned
