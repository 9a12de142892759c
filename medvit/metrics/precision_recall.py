"""Precision and recall by threshold: of a class against the rest, of boxes; thinned for a card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvit.metrics.average_precision import curve_of
from medvit.metrics.detection_matching import ClassMatches, Floats

MOST_POINTS = 50
LEAST_POINTS = 3
"""Both ends and the best F1."""

DIGITS = 6


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """What each threshold of a class finds, and how much of what it names is right.

    Attributes:
        threshold: Shape (n,), strictly rising; what scores as much or more is named.
        precision: Share of what is named that is right, (n,).
        recall: Share of what is there that is found, (n,); never rises.
        positives: How many are there, at least one.
    """

    threshold: Floats
    precision: Floats
    recall: Floats
    positives: int

    @property
    def f1(self) -> Floats:
        """Harmonic mean of precision and recall, (n,); 0 where both are."""
        both = self.precision + self.recall
        product = 2 * self.precision * self.recall
        return np.divide(product, both, out=np.zeros_like(both), where=both > 0)


def one_against_rest(
    probabilities: Floats, labels: NDArray[np.int64]
) -> tuple[PrecisionRecall | None, ...]:
    """Return the curve of each class when all others are the rest; None for one not shown.

    Equal probabilities are one point: no threshold parts them.

    Args:
        probabilities: Shape (n, k), calibrated.
        labels: Class index of each case, (n,), from 0 to k - 1.

    Raises:
        ValueError: If there is no label a row, or one is no column.

    Examples:
        >>> shown = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
        >>> one_against_rest(shown, np.array([0, 1, 1]))[1]
        ... # doctest: +NORMALIZE_WHITESPACE
        PrecisionRecall(threshold=array([0.1, 0.4, 0.7]),
                        precision=array([0.66666667, 1. , 1. ]),
                        recall=array([1. , 1. , 0.5]), positives=2)
    """
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        msg = f"needs a row and a label a case, got {probabilities.shape} and {labels.shape}"
        raise ValueError(msg)
    classes = probabilities.shape[1]
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        msg = f"labels must lie in 0 to {classes - 1}, got {labels.min()} to {labels.max()}"
        raise ValueError(msg)
    return tuple(_against_rest(probabilities[:, at], labels == at) for at in range(classes))


def boxes_by_threshold(matches: ClassMatches) -> PrecisionRecall | None:
    """Return the curve of one class of boxes at IoU 0.5; None where no true box counts.

    No box that counts gives a curve without points.
    """
    positives = int(matches.truths.sum())
    if not positives:
        return None
    recall, precision = curve_of(matches)
    score = matches.score[~matches.is_ignored[0]]
    return _by_threshold(score, precision=precision, recall=recall, positives=positives)


def thinned(curve: PrecisionRecall, *, most: int = MOST_POINTS) -> PrecisionRecall:
    """Return at most so many points of a curve: both ends, the best F1, the others evenly spaced.

    The way from point to point is the change of recall plus that of precision.

    Raises:
        ValueError: If fewer than 3 points are to stay.
    """
    if most < LEAST_POINTS:
        msg = f"a thinned curve keeps {LEAST_POINTS} points or more, got most={most}"
        raise ValueError(msg)
    count = len(curve.threshold)
    if count <= most:
        return curve
    steps = np.abs(np.diff(curve.recall)) + np.abs(np.diff(curve.precision))
    way = np.append(0.0, np.cumsum(steps))
    even = np.searchsorted(way, np.linspace(0.0, way[-1], most - 1)[1:-1])
    kept = np.unique([0, *even.tolist(), int(curve.f1.argmax()), count - 1])
    return PrecisionRecall(
        curve.threshold[kept], curve.precision[kept], curve.recall[kept], curve.positives
    )


def curves_for_card(split: str, curves: Mapping[str, PrecisionRecall | None]) -> dict[str, Any]:
    """Return what a model card holds as `metrics["curves"]`: thinned, a class without one left out.

    Args:
        split: Which cases the curves are of.
        curves: By name of the class.

    Examples:
        >>> one = one_against_rest(np.array([[0.25], [0.5]]), np.array([0, 0]))[0]
        >>> curves_for_card("test", {"dent": one, "scratch": None})
        ... # doctest: +NORMALIZE_WHITESPACE
        {'split': 'test', 'classes': {'dent': {'threshold': [0.25, 0.5],
         'precision': [1.0, 1.0], 'recall': [1.0, 0.5], 'n': 2}}}
    """
    thin = {name: thinned(curve) for name, curve in curves.items() if curve is not None}
    return {
        "split": split,
        "classes": {
            name: {
                "threshold": curve.threshold.tolist(),
                "precision": curve.precision.round(DIGITS).tolist(),
                "recall": curve.recall.round(DIGITS).tolist(),
                "n": curve.positives,
            }
            for name, curve in thin.items()
        },
    }


def _against_rest(score: Floats, is_true: NDArray[np.bool_]) -> PrecisionRecall | None:
    positives = int(is_true.sum())
    if not positives:
        return None
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(is_true[order])
    named = np.arange(1, len(hits) + 1)
    return _by_threshold(
        score[order], precision=hits / named, recall=hits / positives, positives=positives
    )


def _by_threshold(
    score: Floats, *, precision: Floats, recall: Floats, positives: int
) -> PrecisionRecall:
    """Return one point a score, that of the last of equal ones; `score` falls."""
    is_last = np.append(np.diff(score) != 0, True)[: len(score)]
    kept = np.flatnonzero(is_last)[::-1]
    return PrecisionRecall(score[kept], precision[kept], recall[kept], positives)
