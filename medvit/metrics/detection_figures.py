"""All that is measured of a box detector at once, with intervals that can be drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvit.data.boxes.labelled import LabelledBoxes, PredictedBox
from medvit.metrics.average_precision import (
    RECALLS,
    RULES,
    ClassPrecision,
    bootstrap_ap,
    coco_ap,
    coco_curve,
    curve_of,
    mean_ap,
    score_class,
)
from medvit.metrics.detection_matching import ClassMatches, Floats, match_coco, match_voc

IOU_75 = 5
"""Index of the IoU threshold 0.75."""

SIZES = ("small", "medium", "large")
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """The figures of one class.

    Attributes:
        name: Of the class.
        score: Average precision and recall at each IoU threshold.
        ap50_interval: 95 % bootstrap interval of AP at IoU 0.5; None without true boxes.
        ap50_95_interval: The same of the mean over IoU 0.5 to 0.95.
        precision: At IoU 0.5 and the 101 recalls of COCO; empty without true boxes.
    """

    name: str
    score: ClassPrecision
    ap50_interval: Interval | None
    ap50_95_interval: Interval | None
    precision: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DetectionFigures:
    """The figures of a detector.

    Attributes:
        rules: A name of `RULES`.
        classes: Figures of each class.
        map50: Mean of AP at IoU 0.5 over classes with true boxes; so are the others.
        map75: At IoU 0.75.
        map50_95: Mean over IoU 0.5 to 0.95.
        map50_interval: 95 % bootstrap interval.
        map50_95_interval: 95 % bootstrap interval.
        recall: Mean share of true boxes found at any score, over IoU 0.5 to 0.95.
        by_size: `map50_95` of small, medium and large objects (32 and 96 px square); rules of
            COCO only, None where there are none.
        images: How many were evaluated.
        groups: How many groups of images were drawn from.
        rounds: Draws of the bootstrap.
        seed: Seed of the draws.
    """

    rules: str
    classes: tuple[ClassFigures, ...]
    map50: float
    map75: float
    map50_95: float
    map50_interval: Interval
    map50_95_interval: Interval
    recall: float
    by_size: dict[str, float | None]
    images: int
    groups: int
    rounds: int
    seed: int


@dataclass(frozen=True, slots=True)
class Draws:
    """How a bootstrap draws: which images go together, how often, from which seed."""

    groups: NDArray[np.intp]
    rounds: int
    seed: int


def measure_detection(
    truth: LabelledBoxes, predicted: Sequence[PredictedBox], *, rules: str, draws: Draws
) -> DetectionFigures:
    """Return figures with intervals; the same boxes and draws give the same figures.

    Raises:
        ValueError: If no true box counts.
    """
    matches = match_coco(truth, predicted) if rules == "coco" else match_voc(truth, predicted)
    scores = [score_class(each, RULES[rules]) for each in matches]
    if not any(score.truths for score in scores):
        msg = f"{truth.file}: average precision needs a box that counts, found 0"
        raise ValueError(msg)
    rng = np.random.default_rng(draws.seed)
    low, high = bootstrap_ap(
        matches, RULES[rules], groups=draws.groups, rng=rng, rounds=draws.rounds
    )
    means = mean_ap(scores)
    return DetectionFigures(
        rules=rules,
        classes=tuple(
            _figures(name, each, score, (low[at], high[at]))
            for at, (name, each, score) in enumerate(
                zip(truth.classes, matches, scores, strict=True)
            )
        ),
        map50=float(means[0]),
        map75=float(means[IOU_75]),
        map50_95=float(means.mean()),
        map50_interval=(float(low[-1, 0]), float(high[-1, 0])),
        map50_95_interval=(float(low[-1, 1]), float(high[-1, 1])),
        recall=float(np.mean([score.recall for score in scores if score.truths])),
        by_size=_by_size(truth, predicted) if rules == "coco" else {},
        images=len(truth.images),
        groups=len(np.unique(draws.groups)),
        rounds=draws.rounds,
        seed=draws.seed,
    )


def _figures(
    name: str, matches: ClassMatches, score: ClassPrecision, edges: tuple[Floats, Floats]
) -> ClassFigures:
    if not score.truths:
        return ClassFigures(name, score, None, None, ())
    low, high = edges
    return ClassFigures(
        name,
        score,
        ap50_interval=(float(low[0]), float(high[0])),
        ap50_95_interval=(float(low[1]), float(high[1])),
        precision=tuple(coco_curve(*curve_of(matches)).tolist()),
    )


def _by_size(truth: LabelledBoxes, predicted: Sequence[PredictedBox]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for size in SIZES:
        scores = [score_class(each, coco_ap) for each in match_coco(truth, predicted, area=size)]
        is_known = any(score.truths for score in scores)
        found[size] = float(mean_ap(scores).mean()) if is_known else None
    return found


def recalls() -> tuple[float, ...]:
    """Return the 101 recalls that `ClassFigures.precision` belongs to."""
    return tuple(RECALLS.tolist())
