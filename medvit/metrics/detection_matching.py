"""Which predicted boxes hit which true ones, by the rules of COCO and of VOC.

Letters: d predicted boxes of an image and class, g true ones, t IoU thresholds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvit.data.boxes.labelled import LabelledBoxes, PredictedBox, TrueBox

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

IOU_THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
MOST_BOXES = 100
"""Boxes of one class on one image that count under the rules of COCO, the best first."""

NEARLY_ONE = 1 - 1e-10
"""COCO takes a box that is equal up to rounding for equal."""

AREAS_PX2 = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}


@dataclass(frozen=True, slots=True)
class ClassMatches:
    """What the predicted boxes of one class are, best score first.

    Attributes:
        score: Shape (n,), falling; equal scores in the order of the images.
        image: Index of the image of each box (n,).
        is_hit: Whether it hits a true box of its own, (t, n).
        is_ignored: Whether it counts neither way, (t, n).
        truths: True boxes that count, on each image (images,).
    """

    score: Floats
    image: NDArray[np.intp]
    is_hit: Bools
    is_ignored: Bools
    truths: Floats


@dataclass(frozen=True, slots=True)
class _Pair:
    """The boxes of one class on one image; predicted ones best first."""

    predicted: Floats  # (d, 4)
    score: Floats  # (d,)
    true: Floats  # (g, 4)
    is_crowd: Bools  # (g,)
    is_ignored: Bools  # (g,)


Matcher = Callable[[_Pair], tuple[Bools, Bools]]


def match_coco(
    truth: LabelledBoxes, predicted: Iterable[PredictedBox], *, area: str = "all"
) -> list[ClassMatches]:
    """Match by the rules of COCO, class by class.

    Each box in turn takes the best true box that is still free, one that counts before one
    that does not. Crowds and objects outside of the area range count neither way, and so do
    boxes that hit them, and false boxes outside of the range. COCO knows no difficult objects:
    they count like all others.

    Args:
        truth: Boxes that are there.
        predicted: Boxes that a detector gave; of each image and class 100 count.
        area: A name of `AREAS_PX2`.
    """
    low, high = AREAS_PX2[area]

    def counts(box: TrueBox) -> bool:
        return not box.is_crowd and low <= box.area_px2 <= high

    def match(pair: _Pair) -> tuple[Bools, Bools]:
        is_hit, is_ignored = _match_free(pair)
        size = pair.predicted[:, 2] * pair.predicted[:, 3]
        return is_hit, is_ignored | (~is_hit & ((size < low) | (size > high)))

    return _by_class(truth, predicted, counts=counts, match=match, most=MOST_BOXES)


def match_voc(truth: LabelledBoxes, predicted: Iterable[PredictedBox]) -> list[ClassMatches]:
    """Match by the rules of VOC: each box belongs to its best true box, free or not.

    A second box on a true one is false. One on a difficult object counts neither way.
    """

    def counts(box: TrueBox) -> bool:
        return not (box.is_difficult or box.is_crowd)

    return _by_class(truth, predicted, counts=counts, match=_match_best, most=None)


def box_iou(predicted: Floats, true: Floats, is_crowd: Bools) -> Floats:
    """Return intersection over union (d, g) of boxes (n, 4) given as x, y, w, h.

    Over a crowd it is the share of the predicted box that lies in it.
    """
    start = np.maximum(predicted[:, None, :2], true[None, :, :2])
    stop = np.minimum(
        (predicted[:, :2] + predicted[:, 2:])[:, None], (true[:, :2] + true[:, 2:])[None]
    )
    width, height = np.moveaxis(np.maximum(stop - start, 0.0), 2, 0)
    shared = width * height
    own, other = predicted[:, 2] * predicted[:, 3], true[:, 2] * true[:, 3]
    union = np.where(is_crowd, own[:, None], own[:, None] + other - shared)
    iou: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
    return iou


def _by_class(
    truth: LabelledBoxes,
    predicted: Iterable[PredictedBox],
    *,
    counts: Callable[[TrueBox], bool],
    match: Matcher,
    most: int | None,
) -> list[ClassMatches]:
    true_of: dict[tuple[int, int], list[TrueBox]] = defaultdict(list)
    truths = np.zeros((len(truth.classes), len(truth.images)))
    for box in truth.boxes:
        true_of[box.label, box.image].append(box)
        truths[box.label, box.image] += counts(box)
    boxes_of: dict[int, dict[int, list[PredictedBox]]] = defaultdict(lambda: defaultdict(list))
    for found in predicted:
        boxes_of[found.label][found.image].append(found)
    matches = []
    for label in range(len(truth.classes)):
        parts = []
        for image, boxes in sorted(boxes_of[label].items()):
            true = true_of.get((label, image), [])
            pair = _pair(boxes, true, counts=counts, most=most)
            parts.append((image, pair.score, *match(pair)))
        matches.append(_joined(parts, truths[label]))
    return matches


def _pair(
    boxes: Sequence[PredictedBox],
    true: Sequence[TrueBox],
    *,
    counts: Callable[[TrueBox], bool],
    most: int | None,
) -> _Pair:
    scores = np.array([box.score for box in boxes], dtype=np.float64)
    order = np.argsort(-scores, kind="stable")[:most]
    return _Pair(
        predicted=np.array([box.xywh for box in boxes], dtype=np.float64)[order],
        score=scores[order],
        true=np.array([box.xywh for box in true], dtype=np.float64).reshape(-1, 4),
        is_crowd=np.array([box.is_crowd for box in true], dtype=bool),
        is_ignored=np.array([not counts(box) for box in true], dtype=bool),
    )


def _match_free(pair: _Pair) -> tuple[Bools, Bools]:
    """Return what is hit and what is ignored, each (t, d), when only free boxes are taken."""
    iou = box_iou(pair.predicted, pair.true, pair.is_crowd)  # (d, g)
    least = np.minimum(IOU_THRESHOLDS, NEARLY_ONE)
    is_hit = np.zeros((len(least), len(iou)), dtype=bool)
    is_ignored = np.zeros_like(is_hit)
    is_free = np.ones((len(least), iou.shape[1]), dtype=bool)
    every = np.arange(len(least))
    for at in np.flatnonzero(iou.max(axis=1, initial=0.0) >= least[0]):
        fits = (is_free | pair.is_crowd) & (iou[at] >= least[:, None])  # (t, g)
        counted = fits & ~pair.is_ignored
        has_counted = counted.any(axis=1)
        chosen = _last_best(np.where(has_counted[:, None], counted, fits), iou[at])
        found = fits.any(axis=1)
        is_hit[:, at] = found
        is_ignored[:, at] = found & ~has_counted
        is_free[every[found], chosen[found]] = False
    return is_hit, is_ignored


def _last_best(is_allowed: Bools, iou: Floats) -> NDArray[np.intp]:
    """Return the allowed box with the highest IoU for each threshold, the last of equal ones."""
    reach = np.where(is_allowed, iou, -1.0)[:, ::-1]
    return np.asarray(reach.shape[1] - 1 - reach.argmax(axis=1))


def _match_best(pair: _Pair) -> tuple[Bools, Bools]:
    """Return what is hit and what is ignored, each (t, d), when each box has one candidate."""
    iou = box_iou(pair.predicted, pair.true, np.zeros_like(pair.is_crowd))
    is_hit = np.zeros((len(IOU_THRESHOLDS), len(iou)), dtype=bool)
    is_ignored = np.zeros_like(is_hit)
    if not iou.size:
        return is_hit, is_ignored
    best = iou.argmax(axis=1)
    is_free = np.ones((len(IOU_THRESHOLDS), iou.shape[1]), dtype=bool)
    for at, place in enumerate(best):
        reaches = iou[at, place] >= IOU_THRESHOLDS
        is_ignored[:, at] = reaches & pair.is_ignored[place]
        is_hit[:, at] = reaches & is_free[:, place] & ~pair.is_ignored[place]
        is_free[:, place] &= ~reaches
    return is_hit, is_ignored


def _joined(parts: Sequence[tuple[int, Floats, Bools, Bools]], truths: Floats) -> ClassMatches:
    none = np.zeros((len(IOU_THRESHOLDS), 0), dtype=bool)
    score = np.concatenate([np.empty(0), *(part[1] for part in parts)])
    order = np.argsort(-score, kind="stable")
    image = np.repeat([part[0] for part in parts], [len(part[1]) for part in parts])
    return ClassMatches(
        score=score[order],
        image=image.astype(np.intp)[order],
        is_hit=np.concatenate([none, *(part[2] for part in parts)], axis=1)[:, order],
        is_ignored=np.concatenate([none, *(part[3] for part in parts)], axis=1)[:, order],
        truths=truths,
    )
