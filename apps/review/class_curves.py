"""Precision-recall curves of a model's card for the page of models, and what they say."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from apps.review.model_curves import draw_marked
from medvit.metrics.calibration import PlattScale
from medvit.models.card import CURVES, ModelCard

BOX_DETECTOR = "defect_detector"
MIDDLE = 0.5
"""Where the slider starts for a class without a threshold in the card."""

ROOM = (0, 1.06)
"""Of both axes: the mark at 1 is shown whole."""

LEAST_DIGITS, MOST_DIGITS = 3, 17


@dataclass(frozen=True, slots=True)
class ClassCurve:
    """Precision and recall of one class by threshold.

    Attributes:
        threshold: Strictly rising; what scores as much or more is named.
        n: How many images or boxes of the class there are.
        noun: What is counted, "image" or "box".
        split: Which cases it is of.
    """

    name: str
    threshold: tuple[float, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    n: int
    noun: str
    split: str


def class_curves(card: ModelCard) -> dict[str, ClassCurve]:
    """Return the precision-recall curves that a card holds, by class; none for many a card."""
    kept = card.metrics.get(CURVES)
    if not isinstance(kept, Mapping):
        return {}
    noun, split = "box" if is_box_detector(card) else "image", str(kept["split"])
    return {
        name: ClassCurve(
            name,
            tuple(map(float, each["threshold"])),
            tuple(map(float, each["precision"])),
            tuple(map(float, each["recall"])),
            int(each["n"]),
            noun,
            split,
        )
        for name, each in kept["classes"].items()
    }


def is_box_detector(card: ModelCard) -> bool:
    """Whether a model finds boxes on images."""
    return card.architecture.builder == BOX_DETECTOR


def first_point(curve: ClassCurve, card: ModelCard) -> int:
    """Return the place of the threshold that is nearest to the model's own, from above."""
    own = card.thresholds.get(curve.name, MIDDLE)
    return min(bisect_left(curve.threshold, own), len(curve.threshold) - 1)


def threshold_names(threshold: Sequence[float]) -> list[str]:
    """Return thresholds as text, with digits enough to tell each from the next ones.

    Args:
        threshold: Strictly rising.

    Examples:
        >>> threshold_names([0.25, 0.99991, 0.99992])
        ['0.250', '0.99991', '0.99992']
    """
    return [
        _told_apart(value, [*threshold[max(0, at - 1) : at], *threshold[at + 1 : at + 2]])
        for at, value in enumerate(threshold)
    ]


def _told_apart(value: float, beside: Sequence[float]) -> str:
    for digits in range(LEAST_DIGITS, MOST_DIGITS):
        told = f"{value:.{digits}f}"
        if all(told != f"{other:.{digits}f}" for other in beside):
            return told
    return repr(value)


def point_told(curve: ClassCurve, at: int) -> str:
    """Return in one sentence what a threshold of a curve finds and costs."""
    own = threshold_names(curve.threshold)[at]
    return (
        f"from {own}: finds {curve.recall[at]:.1%} of {_counted(curve)} of {curve.name}, "
        f"{1 - curve.precision[at]:.1%} of what it names {curve.name} is wrong "
        f"(split {curve.split})"
    )


def nothing_told(curve: ClassCurve) -> str:
    """Return the sentence for a class that is found at no threshold."""
    return f"finds none of {_counted(curve)} of {curve.name} at any score (split {curve.split})"


def in_use_told(curve: ClassCurve, card: ModelCard) -> str:
    """Return which threshold scans use for a class now, and that they take no other."""
    if is_box_detector(card):
        cut = _threshold_of(curve.name, card)
        said = f"medvit scan marks {curve.name} from a score of {cut:.3f}"
        scale = PlattScale.of(card.calibration)
        if scale is not None:
            said += f" (in findings.csv a probability of {scale.apply(cut):.3f})"
        return f"{said}; it has no option for another threshold of a surface model"
    said = "medvit scan gives an image its most probable class, whatever its probability"
    sound = card.preprocessing.get("sound_class")
    if sound and sound != curve.name:
        cut = _threshold_of(curve.name, card)
        said += f"; in tiles of large images it marks {curve.name} from {cut:.3f}"
    return f"{said}; it has no option for a threshold of a surface model"


def _threshold_of(name: str, card: ModelCard) -> float:
    """Return the threshold of the card for a class, or what scans take without one."""
    if name in card.thresholds:
        return card.thresholds[name]
    if is_box_detector(card):
        from medvit.inference.boxes import LEAST_SCORE

        return LEAST_SCORE
    from medvit.inference.defect_tiles import LEAST_PROBABILITY

    return LEAST_PROBABILITY


def _counted(curve: ClassCurve) -> str:
    many = "boxes" if curve.noun == "box" else f"{curve.noun}s"
    return f"{curve.n} {curve.noun if curve.n == 1 else many}"


def draw_curve(curve: ClassCurve, chosen: int) -> go.Figure:
    """Return precision by recall with the chosen threshold marked."""
    figure = draw_marked(curve.recall, curve.precision, chosen, names=("precision", "threshold"))
    figure.update_xaxes(range=ROOM, title="recall")
    figure.update_yaxes(range=ROOM, title="precision")
    return figure
