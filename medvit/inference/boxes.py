"""Boxes of defects on an image: network -> scored locations -> one box for each defect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medvit.data.box_canvas import Boxes, Canvas, fit_canvas, original_boxes
from medvit.data.grey import Channels
from medvit.errors import ModelError
from medvit.inference.nms import suppress_overlaps
from medvit.models.heads.boxes import BoxDetector
from medvit.models.weights import ModelCard

MOST_OVERLAP = 0.6
"""IoU that two boxes of one class may have."""

MOST_CANDIDATES = 1000
"""Scores of an image that are looked at, the best ones."""

MOST_BOXES = 100
"""Boxes of an image, the best ones; COCO counts as many."""

LEAST_SCORE = 0.05
"""Where nothing else is asked for: what lies below cannot be told from the ground."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoredBoxes:
    """Boxes of one image, best first.

    Attributes:
        boxes: x_min, y_min, x_max, y_max in pixels (m, 4).
        scores: 0..1 (m,).
        labels: Class indices (m,).
    """

    boxes: Boxes
    scores: Floats
    labels: NDArray[np.intp]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.scores)

    def only(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> ScoredBoxes:
        """Return some of them."""
        return ScoredBoxes(self.boxes[chosen], self.scores[chosen], self.labels[chosen])


def no_boxes() -> ScoredBoxes:
    """Return the boxes of an image that shows nothing."""
    return ScoredBoxes(np.empty((0, 4)), np.empty(0), np.empty(0, dtype=np.intp))


def joined(parts: Sequence[ScoredBoxes]) -> ScoredBoxes:
    """Return boxes of several parts of an image as one list, in the order of the parts."""
    parts = [*parts, no_boxes()]
    return ScoredBoxes(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )


def one_each(found: ScoredBoxes, *, most: int = MOST_BOXES) -> ScoredBoxes:
    """Return one box for each defect of a class, best first; at most `most`."""
    kept = [
        own[suppress_overlaps(found.boxes[own], found.scores[own], iou=MOST_OVERLAP)]
        for own in (np.flatnonzero(found.labels == label) for label in np.unique(found.labels))
    ]
    if not kept:
        return no_boxes()
    index = np.concatenate(kept)
    order = np.lexsort((*found.boxes[index].T, found.labels[index], -found.scores[index]))
    return found.only(index[order[:most]])


@torch.inference_mode()
def detect(net: BoxDetector, pixels: Tensor, *, least: float = LEAST_SCORE) -> list[ScoredBoxes]:
    """Return the boxes of each image of a batch (n, c, h, w), in its pixels.

    Args:
        net: In evaluation mode.
        least: Score below which a location says nothing.

    Raises:
        ModelError: If a score is not finite.
    """
    maps = net(pixels.to(next(net.parameters()).device))
    all_scores, all_boxes = maps.scores().double().cpu(), maps.boxes().double().cpu()
    if not (all_scores.isfinite().all() and all_boxes.isfinite().all()):
        msg = "the network gives numbers that are not finite"
        raise ModelError(msg, hint="train it again, or check it with `medvit models verify`")
    limits = torch.tensor(pixels.shape[:1:-1] * 2, dtype=torch.float64)  # w, h, w, h
    boxes_of = torch.minimum(all_boxes.clamp(min=0), limits)
    return [
        _of_image(scores.numpy(), boxes.numpy(), least=least)
        for scores, boxes in zip(all_scores, boxes_of, strict=True)
    ]


def _of_image(scores: Floats, boxes: Boxes, *, least: float) -> ScoredBoxes:
    """Return the boxes of one image from its scores (p, k) and boxes (p, 4)."""
    place, label = np.nonzero(scores >= least)
    best = np.argsort(-scores[place, label], kind="stable")[:MOST_CANDIDATES]
    place, label = place[best], label[best]
    has_area = (boxes[place, 2:] > boxes[place, :2]).all(axis=1)
    place, label = place[has_area], label[has_area]
    return one_each(ScoredBoxes(boxes[place], scores[place, label], label))


def canvas_of(pixels: NDArray[np.float32], net: BoxDetector, card: ModelCard) -> Canvas:
    """Return an image (h, w, 3) as a detector wants to see it.

    Raises:
        ModelError: If the card does not belong to a detector of boxes.
    """
    how = card.preprocessing
    if net.classes != len(card.classes) or "side_px" not in how:
        msg = (
            f"{card.reference}: finding boxes needs a detector of the card's "
            f"{len(card.classes)} classes and its side_px, got {net.classes} classes"
        )
        raise ModelError(msg, hint="choose a model that `medvit train` made from boxes")
    channels: Channels = how.get("channels", "grey")
    return fit_canvas(
        pixels,
        side_px=int(how["side_px"]),
        channels=channels,
        multiple_px=max(net.strides_px),
    )


def boxes_of_image(
    pixels: NDArray[np.float32], net: BoxDetector, card: ModelCard, *, least: float = LEAST_SCORE
) -> ScoredBoxes:
    """Return the boxes of an image (h, w, 3) that is seen as a whole, in its pixels.

    Raises:
        ModelError: If net and card do not fit, or the net gives no finite numbers.
    """
    canvas = canvas_of(pixels, net, card)
    found = detect(net, torch.from_numpy(canvas.planes)[None], least=least)[0]
    return on_image(found, canvas, size=(pixels.shape[0], pixels.shape[1]))


def on_image(found: ScoredBoxes, canvas: Canvas, *, size: tuple[int, int]) -> ScoredBoxes:
    """Return boxes of a canvas in pixels of its image of (height, width); none is empty."""
    boxes = original_boxes(found.boxes, canvas, size=size)
    there = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    return ScoredBoxes(boxes, found.scores, found.labels).only(there)


def above(
    found: ScoredBoxes, classes: Sequence[str], thresholds: Mapping[str, float]
) -> ScoredBoxes:
    """Return the boxes that reach the threshold of their class; `LEAST_SCORE` for a class without.

    Examples:
        >>> two = ScoredBoxes(np.zeros((2, 4)), np.array([0.6, 0.4]), np.array([0, 1]))
        >>> above(two, ("dent", "scratch"), {"dent": 0.7, "scratch": 0.3}).labels.tolist()
        [1]
    """
    least = np.array([thresholds.get(name, LEAST_SCORE) for name in classes])
    return found.only(found.scores >= least[found.labels])
