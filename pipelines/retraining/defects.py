"""A challenger for surface images: plan -> lessons -> classifier -> figures -> model version."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from medvit.errors import ConfigError
from medvit.workspace import Workspace
from pipelines.classifying.known_looks import grown_looks, learn_looks, with_looks
from pipelines.classifying.tune import forgetting_rows
from pipelines.retraining.assignment import Assignment
from pipelines.retraining.challenger import (
    Challenger,
    SuspectRow,
    challenger_text,
    keep_suspects,
    learnt_from,
    training_facts,
)
from pipelines.retraining.parent_data import known_images
from pipelines.retraining.strategy import Plan, make_plan

if TYPE_CHECKING:
    from medvit.models.card import ModelCard
    from medvit.models.heads.classify import DefectClassifier
    from pipelines.retraining.learning import Desk, Learnt
    from pipelines.retraining.lessons import Lessons, NoiseFound


def make_defect_challenger(
    assignment: Assignment, workspace: Workspace, *, desk: Desk
) -> Challenger:
    """Train a classifier, or a detector of boxes if the champion is one, and register it.

    Raises:
        ConfigError: If the champion is neither.
        InputError: If an image is missing, or a new class cannot be placed.
        ModelError: If the champion was altered.
    """
    from medvit.learn.classify import predict_features
    from medvit.models.heads.boxes import BoxDetector
    from medvit.models.heads.classify import DefectClassifier
    from medvit.models.weights import load_model
    from pipelines.retraining.boxes import make_box_challenger
    from pipelines.retraining.learning import learn
    from pipelines.retraining.lessons import look_for_noise, without_suspects

    net, card = load_model(assignment.champion.folder)
    if isinstance(net, BoxDetector):
        return make_box_challenger(net, card, assignment, workspace, desk=desk)
    if not isinstance(net, DefectClassifier):
        msg = f"{card.reference} is a {card.architecture.builder}, no classifier and no detector"
        raise ConfigError(msg, hint="name a model of task defect; see `medvit models list`")
    plan, lessons = _plan(net, card, assignment)
    if plan.new_classes:
        frozen = assignment.version.contents_of("test")
        lessons = replace(lessons, known=known_images(card, workspace, frozen=frozen))
    noise = look_for_noise(predict_features(net, lessons.train.images), lessons)
    learnt = learn(net, card, without_suspects(lessons, noise), plan, desk=desk)
    metrics = _metrics(net, learnt, lessons, plan) | {"noise_rate": noise.rate}
    suspects = _suspects(noise)
    keep_suspects(desk.folder, suspects)
    saved = _register(assignment, card, lessons, learnt, workspace=workspace, told=(plan, metrics))
    return Challenger(saved.reference, metrics, asdict(plan), suspects)


def _plan(net: DefectClassifier, card: ModelCard, assignment: Assignment) -> tuple[Plan, Lessons]:
    from medvit.models.heads.kernel import KernelHead
    from pipelines.retraining.learning import count_corrections
    from pipelines.retraining.lessons import read_lessons

    version, before = assignment.version, assignment.before
    rows = [row for row in version.manifest.of("train") if row.label]
    first = make_plan([row.label for row in rows], known=card.classes, fresh=0, corrections=0)
    lessons = read_lessons(version, card, new_classes=first.new_classes)
    fresh = [before.get(version.contents[row.path]) != row.label for row in lessons.rows]
    plan = make_plan(
        [row.label for row in rows],
        known=card.classes,
        fresh=sum(fresh),
        corrections=count_corrections(net, lessons, fresh),
        wanted=assignment.wanted,
        refits=isinstance(net.head, KernelHead),
    )
    return plan, lessons


def _metrics(
    champion: DefectClassifier, learnt: Learnt, lessons: Lessons, plan: Plan
) -> dict[str, Any]:
    """Return figures on frozen images, and what became of each old class there."""
    import torch

    from medvit.learn.classify import predict_logits
    from medvit.metrics.classification import score_classification

    figures: dict[str, Any] = {
        "n": len(lessons.frozen.paths),
        "epochs": learnt.epochs,
        "cut_short": learnt.cut_short,
        "strategy": plan.strategy,
        "train_images": len(lessons.train.paths),
    }
    if not lessons.frozen.paths:
        return figures
    before = predict_logits(champion, lessons.frozen.images)
    after = predict_logits(learnt.net, lessons.frozen.images)
    names, labels = lessons.classes, lessons.frozen.labels.tolist()
    guess = after.argmax(dim=1).tolist()
    scores = score_classification(
        [names[index] for index in labels], [names[index] for index in guess], classes=names
    )
    old = names[: champion.classes]
    pairs = (before.argmax(dim=1).tolist(), guess, labels)
    same = bool(torch.equal(before, after[:, : len(old)]))
    return {
        **figures,
        **scores,
        "forgetting": forgetting_rows(*pairs, names=old),
        "old_logits_identical": same,
    }


def _register(
    assignment: Assignment,
    card: ModelCard,
    lessons: Lessons,
    learnt: Learnt,
    *,
    workspace: Workspace,
    told: tuple[Plan, dict[str, Any]],
) -> ModelCard:
    from medvit.learn.classify import FeatureReader
    from pipelines.training.run import register

    plan, metrics = told
    version = assignment.version
    fields = {
        "task": "defect",
        "architecture": {**card.architecture.model_dump(), "arguments": learnt.arguments},
        "classes": lessons.classes,
        "preprocessing": card.preprocessing,
        "calibration": {"temperature": learnt.temperature},
        "thresholds": card.thresholds,
        "training": training_facts(assignment, plan),
        "metrics": metrics,
        "parents": (card.reference,),
    }
    splits = {"train": lessons.train, "val": lessons.val}
    looks = learn_looks(FeatureReader(learnt.net), splits)
    if looks is None and not learnt.epochs:
        looks = grown_looks(assignment.champion.folder, card, learnt.net, lessons.train)
    fields, seen = with_looks(fields, learnt_from(version), looks)
    return register(
        workspace,
        learnt.net,
        name=card.name,
        card=fields,
        readme=challenger_text(fields),
        seen=seen,
    )


def _suspects(noise: NoiseFound) -> tuple[SuspectRow, ...]:
    return tuple(
        SuspectRow(each.path, each.label, each.suggested, each.confidence)
        for each in noise.suspects
    )
