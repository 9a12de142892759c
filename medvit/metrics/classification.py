"""Scores of one label per image, with intervals where classes are small."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959964
INTERVALS = ("accuracy", "balanced_accuracy", "macro_f1")


def score_classification(
    truth: Sequence[str], predicted: Sequence[str], *, classes: Sequence[str]
) -> dict[str, Any]:
    """Return the figures that `evaluate classification` answers.

    Args:
        truth: True label of each image.
        predicted: Predicted labels in the same order.
        classes: Names in the order of the confusion matrix; all labels are among them.

    Returns:
        `accuracy`, `balanced_accuracy` (mean recall over true classes), `macro_f1`
        (over classes that are true or predicted somewhere), `per_class` with
        precision, recall, its 95 % Wilson interval, f1 and n, `confusion` (rows true,
        columns predicted) and `n`.

    Raises:
        ValueError: If there is nothing to score, or a label is not among the classes.
    """
    if len(truth) != len(predicted) or not truth:
        msg = f"scoring needs as many labels as predictions, got {len(truth)}, {len(predicted)}"
        raise ValueError(msg)
    unknown = sorted({*truth, *predicted} - {*classes})
    if unknown:
        msg = f"labels must be among {', '.join(classes)}; found {', '.join(unknown)}"
        raise ValueError(msg)
    place = {name: index for index, name in enumerate(classes)}
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for true, guess in zip(truth, predicted, strict=True):
        confusion[place[true], place[guess]] += 1
    per_class = {name: _of_class(confusion, index) for name, index in place.items()}
    seen = [scores for scores in per_class.values() if scores["n"]]
    named = [per_class[name] for name in classes if name in {*truth, *predicted}]
    return {
        "accuracy": float(np.trace(confusion) / confusion.sum()),
        "balanced_accuracy": sum(scores["recall"] for scores in seen) / len(seen),
        "macro_f1": sum(scores["f1"] for scores in named) / len(named),
        "per_class": per_class,
        "confusion": confusion.tolist(),
        "n": int(confusion.sum()),
    }


def bootstrap_classification(
    truth: Sequence[str],
    predicted: Sequence[str],
    *,
    groups: Sequence[str],
    rng: np.random.Generator,
    rounds: int = 1000,
) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of accuracy, balanced accuracy and macro F1.

    Groups of images (a part, a strip, a patient) are drawn with replacement and whole:
    images of one group are no independent trials. Classes that a draw lacks do not count in it.

    Args:
        truth: True label of each image.
        predicted: Predicted labels in the same order.
        groups: Group of each image, in the same order.
        rng: Source of the draws.
        rounds: How many draws.
    """
    names = sorted({*truth, *predicted})
    place = {name: index for index, name in enumerate(names)}
    k = len(names)
    cell = np.array([place[a] * k + place[b] for a, b in zip(truth, predicted, strict=True)])
    numbers = np.unique(groups, return_inverse=True)[1]
    count = int(numbers.max()) + 1
    drawn = np.empty((rounds, len(INTERVALS)))
    for number in range(rounds):
        weight = np.bincount(rng.integers(count, size=count), minlength=count).astype(np.float64)
        confusion = np.bincount(cell, weights=weight[numbers], minlength=k * k).reshape(k, k)
        drawn[number] = _means(confusion)
    drawn.sort(axis=0)
    low, high = drawn[math.floor(0.025 * rounds)], drawn[math.floor(0.975 * rounds)]
    edges = zip(low.tolist(), high.tolist(), strict=True)
    return dict(zip(INTERVALS, edges, strict=True))


def wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a share; (0, 1) without trials.

    Examples:
        >>> [round(edge, 3) for edge in wilson_interval(9, 9)]
        [0.701, 1.0]
    """
    if trials == 0:
        return 0.0, 1.0
    share = hits / trials
    centre = share + Z_95**2 / (2 * trials)
    half = Z_95 * math.sqrt(share * (1 - share) / trials + Z_95**2 / (4 * trials**2))
    scale = 1 + Z_95**2 / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _of_class(confusion: np.ndarray[Any, np.dtype[np.int64]], index: int) -> dict[str, Any]:
    hits = int(confusion[index, index])
    n = int(confusion[index].sum())
    guessed = int(confusion[:, index].sum())
    low, high = wilson_interval(hits, n)
    return {
        "precision": hits / guessed if guessed else 0.0,
        "recall": hits / n if n else 0.0,
        "recall_low": low,
        "recall_high": high,
        "f1": 2 * hits / (n + guessed) if n + guessed else 0.0,
        "n": n,
    }


def _means(confusion: NDArray[Any]) -> tuple[float, float, float]:
    """Return accuracy, balanced accuracy and macro F1 of weighted counts."""
    hits, true, guessed = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    recall = hits[true > 0] / true[true > 0]
    named = true + guessed > 0
    f1 = 2 * hits[named] / (true + guessed)[named]
    return float(hits.sum() / confusion.sum()), float(recall.mean()), float(f1.mean())
