"""Scores of one label per image, with intervals where classes are small."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Z_95 = 1.959964


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
