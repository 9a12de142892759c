"""All that is measured of a classifier at once, with intervals that can be drawn again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medvit.metrics.calibration import expected_calibration_error
from medvit.metrics.class_groups import by_frequency
from medvit.metrics.classification import bootstrap_classification, score_classification


@dataclass(frozen=True, slots=True)
class JudgedImage:
    """An image with what it shows and what a model says of it.

    Attributes:
        path: As the manifest writes it.
        label: What it shows.
        predicted: What the model says.
        probability: How sure the model is, 0..1.
        group: Images of one group are drawn together.
    """

    path: str
    label: str
    predicted: str
    probability: float
    group: str


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """The figures of a classifier.

    Attributes:
        images: In the order in which they were judged.
        classes: Names in the order of the confusion matrix.
        scores: What `score_classification` returns.
        intervals: 95 % bootstrap intervals of accuracy, balanced accuracy and macro F1.
        ece: Expected calibration error in bins of equal count.
        groups: How many groups of images were drawn from.
        rounds: Draws of the bootstrap.
        seed: Seed of the draws.
        by_frequency: Of classes with many, medium and few training images; empty where the
            training is not known.
    """

    images: Sequence[JudgedImage]
    classes: tuple[str, ...]
    scores: dict[str, Any]
    intervals: dict[str, tuple[float, float]]
    ece: float
    groups: int
    rounds: int
    seed: int
    by_frequency: dict[str, dict[str, Any]] = field(default_factory=dict)

    def answer(self) -> dict[str, Any]:
        """Return the figures of the contract, and more, as plain values."""
        intervals = {f"{name}_interval": edges for name, edges in self.intervals.items()}
        return {
            **self.scores,
            "classes": self.classes,
            **intervals,
            "ece": self.ece,
            "n_groups": self.groups,
            "rounds": self.rounds,
            "seed": self.seed,
            "by_frequency": self.by_frequency,
        }


def measure_labels(
    images: Sequence[JudgedImage],
    *,
    rounds: int,
    seed: int,
    train_counts: Mapping[str, float] | None = None,
) -> LabelFigures:
    """Return figures with intervals; the same images, rounds and seed give the same figures.

    Args:
        train_counts: Images of each class that were trained on, if that is known.

    Raises:
        ValueError: If there is no image.
    """
    truth = [image.label for image in images]
    predicted = [image.predicted for image in images]
    classes = tuple(sorted({*truth, *predicted}))
    groups = [image.group for image in images]
    correct = np.equal(truth, predicted)
    scores = score_classification(truth, predicted, classes=classes)
    return LabelFigures(
        images=images,
        classes=classes,
        scores=scores,
        intervals=bootstrap_classification(
            truth, predicted, groups=groups, rng=np.random.default_rng(seed), rounds=rounds
        ),
        ece=expected_calibration_error(
            [image.probability for image in images], correct, equal_mass=True
        ),
        groups=len(set(groups)),
        rounds=rounds,
        seed=seed,
        by_frequency=by_frequency(scores["per_class"], train_counts) if train_counts else {},
    )
