"""How a challenger is made: as little change as the new labels call for, and the reason why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Strategy = Literal["refit", "prototype", "adapter", "head", "replay", "full"]

CORRECTIONS_TO_LEARN = 10
"""With fewer answers of the model to correct, a new class is added and nothing else moves."""

LABELS_TO_FINE_TUNE = 200
LABELS_TO_TRAIN_ALL = 2000
IMAGES_OF_A_NEW_CLASS = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """What is going to be learnt, and how.

    Attributes:
        reason: A sentence for people.
        new_classes: Sorted; they become outputs.
        waiting: Images so far of classes that have too few to be learnt.
    """

    strategy: Strategy
    reason: str
    new_classes: tuple[str, ...]
    waiting: Mapping[str, int]


def make_plan(
    labels: Sequence[str],
    *,
    known: Sequence[str],
    fresh: int,
    corrections: int,
    wanted: Strategy | Literal["auto"] = "auto",
    refits: bool = False,
) -> Plan:
    """Choose a strategy.

    Args:
        labels: Of all training images.
        known: Classes of the champion.
        fresh: Training images that the champion was not trained on.
        corrections: Those of them, of known classes, that the champion calls something else.
        wanted: `auto`, or the strategy that was asked for.
        refits: Whether the head of the champion holds the images that it was fitted on.

    Examples:
        >>> plan = make_plan(["dent"] * 9 + ["rust"] * 5, known=["dent"], fresh=14, corrections=0)
        >>> plan.strategy, plan.new_classes
        ('prototype', ('rust',))
    """
    counts = Counter(label for label in labels if label not in known)
    new = tuple(sorted(name for name, n in counts.items() if n >= IMAGES_OF_A_NEW_CLASS))
    waiting = {name: n for name, n in sorted(counts.items()) if n < IMAGES_OF_A_NEW_CLASS}
    strategy, reason = _choose(new, fresh=fresh, corrections=corrections, refits=refits)
    if wanted != "auto":
        strategy, reason = wanted, f"{wanted} was asked for"
    return Plan(strategy, reason, new, waiting)


def _choose(
    new: Sequence[str], *, fresh: int, corrections: int, refits: bool
) -> tuple[Strategy, str]:
    if refits and fresh < LABELS_TO_TRAIN_ALL:
        why = (
            f"{fresh} new labels: the head compares with labelled images and holds those it was "
            "fitted on; it is fitted anew on all, the network stays"
        )
        return "refit", why
    if fresh >= LABELS_TO_TRAIN_ALL:
        return "full", f"{fresh} new labels are enough to train all weights ({LABELS_TO_TRAIN_ALL})"
    if fresh >= LABELS_TO_FINE_TUNE:
        why = f"{fresh} new labels: all layers learn, the early ones slowly, with all older labels"
        return "replay", why
    if new and corrections < CORRECTIONS_TO_LEARN:
        why = (
            f"{', '.join(new)} is new and only {corrections} answers are to be corrected: "
            "prototypes are added, and nothing that is known moves"
        )
        return "prototype", why
    why = f"{fresh} new labels, {corrections} of them corrections: adapters and the head learn"
    return "adapter", why
