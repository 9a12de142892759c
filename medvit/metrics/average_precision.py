"""Average precision as COCO, VOC 2007 and VOC 2012 define it, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvit.metrics.detection_matching import ClassMatches, Floats

RECALLS: Floats = np.linspace(0.0, 1.0, 101)
ELEVEN_RECALLS: Floats = np.linspace(0.0, 1.0, 11)
ROUNDING = 1e-12
"""A recall of 3/10 reaches the step 0.3, whatever the last bit says."""

Rule = Callable[[Floats, Floats], float]
"""From recall and precision at each box, best score first, to one figure."""


@dataclass(frozen=True, slots=True)
class ClassPrecision:
    """The figures of one class.

    Attributes:
        ap: At each IoU threshold; NaN when no true box counts.
        recall: Share of the true boxes that is found at any score, at each IoU threshold.
        truths: True boxes that count.
        predicted: Predicted boxes that count.
    """

    ap: Floats
    recall: Floats
    truths: int
    predicted: int

    @property
    def ap50(self) -> float | None:
        """Average precision at IoU 0.5; None when no true box counts."""
        return float(self.ap[0]) if self.truths else None

    @property
    def ap50_95(self) -> float | None:
        """Mean over IoU 0.5 to 0.95; None when no true box counts."""
        return float(self.ap.mean()) if self.truths else None


def coco_ap(recall: Floats, precision: Floats) -> float:
    """Return the mean of the falling envelope of precision at 101 recalls."""
    return float(coco_curve(recall, precision).mean())


def coco_curve(recall: Floats, precision: Floats) -> Floats:
    """Return the envelope at 101 recalls: the best precision at this recall or a higher one.

    Examples:
        >>> coco_curve(np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 0.6]))[[0, 50, 51, 100]]
        array([1. , 1. , 0.6, 0.6])
    """
    places = np.searchsorted(recall, RECALLS, side="left")
    return np.append(_envelope(precision), 0.0)[places]


def voc2007_ap(recall: Floats, precision: Floats) -> float:
    """Return the mean of the best precision at or beyond eleven recalls."""
    places = np.searchsorted(recall, ELEVEN_RECALLS - ROUNDING, side="left")
    return float(np.append(_envelope(precision), 0.0)[places].mean())


def voc2012_ap(recall: Floats, precision: Floats) -> float:
    """Return the area under the falling envelope of precision."""
    return float((np.diff(recall, prepend=0.0) * _envelope(precision)).sum())


RULES: dict[str, Rule] = {"coco": coco_ap, "voc2007": voc2007_ap, "voc2012": voc2012_ap}


def curve_of(
    matches: ClassMatches, threshold: int = 0, *, weight: Floats | None = None
) -> tuple[Floats, Floats]:
    """Return recall and precision at each predicted box that counts, best score first.

    Args:
        matches: Of one class, with at least one true box that counts.
        threshold: Index of the IoU threshold.
        weight: How often each image counts; once without it.
    """
    weight = np.ones(len(matches.truths)) if weight is None else weight
    counts = ~matches.is_ignored[threshold]
    share = weight[matches.image[counts]]
    hits = np.cumsum(share * matches.is_hit[threshold][counts])
    total = np.cumsum(share)
    recall = hits / (weight @ matches.truths)
    # A tiny summand keeps 0 / 0 at 0, as COCO has it.
    return recall, hits / (total + np.spacing(1))


def score_class(
    matches: ClassMatches, rule: Rule, *, weight: Floats | None = None
) -> ClassPrecision:
    """Return the figures of one class by a rule of `RULES`."""
    truths = matches.truths.sum() if weight is None else weight @ matches.truths
    count = len(matches.is_hit)
    if not truths:
        nothing = np.full(count, np.nan)
        return ClassPrecision(nothing, nothing, 0, len(matches.score))
    curves = [curve_of(matches, index, weight=weight) for index in range(count)]
    return ClassPrecision(
        ap=np.array([rule(*curve) for curve in curves]),
        recall=np.array([recall[-1] if len(recall) else 0.0 for recall, _ in curves]),
        truths=int(truths),
        predicted=len(matches.score),
    )


def mean_ap(scores: Sequence[ClassPrecision]) -> Floats:
    """Return the mean over classes with true boxes at each IoU threshold; NaN without any."""
    known = [score.ap for score in scores if score.truths]
    return np.mean(known, axis=0) if known else np.full(len(scores[0].ap), np.nan)


def bootstrap_ap(
    matches: Sequence[ClassMatches],
    rule: Rule,
    *,
    groups: NDArray[np.intp],
    rng: np.random.Generator,
    rounds: int = 1000,
) -> tuple[Floats, Floats]:
    """Return 95 % intervals when groups of images are drawn with replacement.

    Args:
        matches: Of every class.
        rule: A rule of `RULES`.
        groups: Number of the group of each image, 0, 1, 2 ...; one group is drawn whole.
        rng: Source of the draws; one without any true box is drawn again.
        rounds: How many draws.

    Returns:
        Low and high, each of shape (classes + 1, 2): AP at IoU 0.5 and its mean over
        thresholds, the mean over classes last; NaN for a class without true boxes.
    """
    slim = [without_tail(each) for each in matches]
    present = sum(each.truths for each in slim) > 0
    count = int(groups.max()) + 1
    drawn = np.empty((rounds, len(matches) + 1, 2))
    for number in range(rounds):
        weight = np.zeros(len(groups))
        while not (weight > 0) @ present:
            draw = np.bincount(rng.integers(count, size=count), minlength=count)
            weight = draw[groups].astype(np.float64)
        scores = [score_class(each, rule, weight=weight) for each in slim]
        table = np.array([score.ap for score in scores] + [mean_ap(scores)])
        drawn[number] = np.column_stack([table[:, 0], table.mean(axis=1)])
    return _edges(drawn)


def _edges(drawn: Floats) -> tuple[Floats, Floats]:
    """Return sorted values at floor(0.025 n) and floor(0.975 n) of those that are no NaN."""
    ordered = np.sort(drawn, axis=0)  # NaN comes last
    known = (~np.isnan(drawn)).sum(axis=0)
    low = np.floor(0.025 * known).astype(int)
    high = np.minimum(np.floor(0.975 * known).astype(int), np.maximum(known - 1, 0))
    rows, columns = np.indices(known.shape)
    return ordered[low, rows, columns], ordered[high, rows, columns]


def without_tail(matches: ClassMatches) -> ClassMatches:
    """Leave out boxes below the last hit: they lower no envelope and add no recall."""
    hits = np.flatnonzero((matches.is_hit & ~matches.is_ignored).any(axis=0))
    stop = int(hits[-1]) + 1 if len(hits) else 0
    return ClassMatches(
        matches.score[:stop],
        matches.image[:stop],
        matches.is_hit[:, :stop],
        matches.is_ignored[:, :stop],
        matches.truths,
    )


def _envelope(precision: Floats) -> Floats:
    return np.asarray(np.maximum.accumulate(precision[::-1])[::-1])
