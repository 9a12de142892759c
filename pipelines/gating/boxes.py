"""Two detectors of boxes on frozen images: average precision by class, and boxes that flipped.

Letters: i images, b true boxes, k classes, r draws.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medvit.data.boxes.labelled import LabelledBoxes, PredictedBox, TrueBox
from medvit.errors import InputError
from medvit.metrics.average_precision import (
    coco_ap,
    curve_of,
    mean_ap,
    score_class,
    without_tail,
)
from medvit.metrics.detection_matching import ClassMatches, box_iou, match_coco
from medvit.metrics.noninferiority import Bools, Claim, Evidence, Learned
from medvit.metrics.paired import Difference, mcnemar
from medvit.models.card import read_card
from medvit.report.gate_report import Figure, GroupRow
from pipelines.gating.answers import Answers
from pipelines.gating.box_flips import FrozenBox, box_flips
from pipelines.gating.weighed import MOST_GROUPS, Pair, Weighed

if TYPE_CHECKING:
    from medvit.models.card import ModelCard
    from pipelines.gating.frozen_boxes import FrozenBoxes
    from pipelines.gating.settings import GateSettings

PRIMARY = "mAP50"
LEAST_IOU = 0.5
USUAL_THRESHOLD = 0.05
"""Score from which a box counts as told, where a card has no threshold for its class."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Told:
    """What a detector tells of the frozen boxes.

    Attributes:
        matches: Of each class that both models know.
        scores: Of the box that found each true one at the operating point, else NaN (b,).
        count: Boxes told at the operating point, of classes that both know.
    """

    matches: list[ClassMatches]
    scores: Floats
    count: int

    @property
    def found(self) -> Bools:
        """Which true boxes were found (b,)."""
        return np.isfinite(self.scores)


def weigh_boxes(
    pair: Pair, answers: tuple[Answers, Answers], frozen: FrozenBoxes, *, settings: GateSettings
) -> Weighed:
    """Return what frozen images say of two detectors of boxes.

    The primary figure is mAP50 over classes that both know, parts are their AP50; groups of
    images are drawn whole, both models on the same draw. Flips, and their exact test, are
    true boxes that one model alone finds at the operating point of its card.

    Args:
        pair: Champion and challenger.
        answers: Of both, in this order.
        frozen: The images.
        settings: Margins and policies.

    Raises:
        InputError: If no frozen box is of a class that both know.
    """
    cards = [read_card(each.folder) for each in pair]
    old, new = ({*card.classes} for card in cards)
    true = [FrozenBox(at, box) for at, image in enumerate(frozen.cases) for box in image.boxes]
    labels = np.array([each.box.label for each in true])
    shared = sorted({*labels.tolist()} & old & new)
    if not shared:
        msg = f"{frozen.name}: no box is of a class that both models know"
        raise InputError(msg, hint=f"both know {', '.join(sorted(old & new)) or 'none'}")
    told = [_told(c, a, frozen, true, shared) for c, a in zip(cards, answers, strict=True)]
    parts = {PRIMARY: np.isin(labels, shared)} | {name: labels == name for name in shared}
    claims = _claims(told, frozen, true, parts, settings)
    learned = tuple(
        Learned(name, int(told[1].found[labels == name].sum()), int((labels == name).sum()))
        for name in sorted(new - old)
    )
    lost = {name: int((labels == name).sum()) for name in sorted(old - new)}
    kept = {name: n for name, n in lost.items() if n and name not in settings.dropped_classes}
    return Weighed(
        Evidence(claims[0], claims[1:], learned, kept),
        figures=_figures(told, parts[PRIMARY], images=len(frozen.cases)),
        groups=_groups(frozen, true, told),
        flips=box_flips(frozen, true, told[0].scores, told[1].scores),
        cases=int(parts[PRIMARY].sum()),
        notes=_notes(labels, old | new),
    )


def _told(
    card: ModelCard,
    answers: Answers,
    frozen: FrozenBoxes,
    true: Sequence[FrozenBox],
    shared: Sequence[str],
) -> _Told:
    truth = LabelledBoxes(
        frozen.name,
        tuple(image.path for image in frozen.cases),
        tuple(shared),
        tuple(
            TrueBox(
                each.image, shared.index(each.box.label), each.xywh, each.xywh[2] * each.xywh[3]
            )
            for each in true
            if each.box.label in shared
        ),
        {},
        {},
    )
    predicted = [
        PredictedBox(image, shared.index(label), _xywh(box), score)
        for image, rows in enumerate(answers.answers)
        for label, score, *box in rows
        if label in shared
    ]
    cuts = {name: card.thresholds.get(name, USUAL_THRESHOLD) for name in card.classes}
    places: dict[tuple[int, str], list[int]] = defaultdict(list)
    for at, each in enumerate(true):
        places[each.image, each.box.label].append(at)
    scores = np.full(len(true), np.nan)
    for (image, name), own in places.items():
        said = (row for row in answers.answers[image] if row[0] == name)
        rows = [row[1:] for row in said if row[1] >= cuts[name]]
        if rows:
            scores[own] = found_by(rows, [true[at].xywh for at in own])
    count = sum(box.score >= cuts[shared[box.label]] for box in predicted)
    return _Told([without_tail(each) for each in match_coco(truth, predicted)], scores, count)


def _xywh(box: Sequence[float]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box
    return x0, y0, x1 - x0, y1 - y0


def found_by(
    rows: Sequence[Sequence[float]], true: Sequence[tuple[float, float, float, float]]
) -> Floats:
    """Return the score of the box that finds each true one (b,), NaN where none does.

    Each box in turn, best first, takes the free true box that it overlaps most, if by half.

    Args:
        rows: Score, x_min, y_min, x_max, y_max of boxes of one class on one image.
        true: x, y, width and height of the true ones.

    Examples:
        >>> found_by([(0.6, 0, 0, 4, 4), (0.9, 0, 0, 4, 3)], [(0, 0, 4, 4), (9, 9, 2, 2)])
        array([0.9, nan])
    """
    found = np.full(len(true), np.nan)
    best_first = sorted(rows, key=lambda row: -row[0])
    boxes = np.array([_xywh(row[1:]) for row in best_first], dtype=np.float64)
    known = np.array(true, dtype=np.float64)
    iou = box_iou(boxes, known, np.zeros(len(known), dtype=np.bool_))
    for row, reach in zip(best_first, iou, strict=True):
        free = np.where(np.isnan(found), reach, -1.0)
        at = int(free.argmax())
        if free[at] >= LEAST_IOU:
            found[at] = row[0]
    return found


def _claims(
    told: Sequence[_Told],
    frozen: FrozenBoxes,
    true: Sequence[FrozenBox],
    parts: dict[str, Bools],
    settings: GateSettings,
) -> tuple[Claim, ...]:
    groups = np.unique(frozen.groups, return_inverse=True)[1]
    everything = np.ones((1, len(groups)))
    whole = [_precision(each.matches, everything)[0] for each in told]  # (1 + k,)
    drawn = _drawn(told, groups, rounds=settings.rounds, seed=settings.seed)
    owner = groups[[each.image for each in true]]
    claims = []
    for at, (name, member) in enumerate(parts.items()):
        held = len(np.unique(owner[member]))
        difference = None
        if held >= 2:
            edges = _edges(drawn[:, at])
            difference = Difference(float(whole[1][at]), float(whole[0][at]), *edges, groups=held)
        n = int(member.sum())
        claims.append(
            Claim(
                name,
                n,
                difference,
                mcnemar(told[1].found[member], told[0].found[member]),
                settings.margin if name == PRIMARY else settings.class_margin,
                n >= settings.least_cases and held >= settings.least_groups,
                is_share=False,
            )
        )
    return tuple(claims)


def _precision(matches: Sequence[ClassMatches], weights: Floats) -> Floats:
    """Return mAP50 and the AP50 of each class (r, 1 + k); NaN for one that a draw does not show.

    Args:
        matches: Of each class.
        weights: How often each image counts (r, i).
    """
    table = np.full((len(weights), 1 + len(matches)), np.nan)
    for row, weight in zip(table, weights, strict=True):
        for at, each in enumerate(matches, start=1):
            if weight @ each.truths:
                row[at] = coco_ap(*curve_of(each, weight=weight))
        if np.isfinite(row[1:]).any():
            row[0] = np.nanmean(row[1:])
    return table


def _drawn(told: Sequence[_Told], groups: NDArray[np.intp], *, rounds: int, seed: int) -> Floats:
    """Return challenger minus champion in every draw of groups (r, 1 + k)."""
    rng, count = np.random.default_rng(seed), int(groups.max()) + 1
    weights = rng.multinomial(count, np.full(count, 1 / count), size=rounds)[:, groups]
    before, after = (_precision(each.matches, weights.astype(np.float64)) for each in told)
    return after - before


def _edges(drawn: Floats) -> tuple[float, float]:
    values = np.sort(drawn[np.isfinite(drawn)])
    return float(values[floor(0.025 * len(values))]), float(values[floor(0.975 * len(values))])


def _figures(told: Sequence[_Told], counted: Bools, *, images: int) -> tuple[Figure, ...]:
    strict = [float(mean_ap([score_class(m, coco_ap) for m in t.matches]).mean()) for t in told]
    hits = [int(each.found[counted].sum()) for each in told]
    false = [(each.count - hit) / images for each, hit in zip(told, hits, strict=True)]
    found = [hit / int(counted.sum()) for hit in hits]
    return (
        Figure("mAP50-95", strict[0], strict[1]),
        Figure("boxes found at the operating point", found[0], found[1]),
        Figure("false boxes an image there", false[0], false[1], form=".2f"),
    )


def _groups(
    frozen: FrozenBoxes, true: Sequence[FrozenBox], told: Sequence[_Told]
) -> tuple[GroupRow, ...]:
    """Return the groups of several boxes whose found ones changed most, the worst first."""
    names = np.array([frozen.groups[each.image] for each in true])
    before, after = (Counter(names[each.found].tolist()) for each in told)
    cases = Counter(names.tolist())
    changed = [name for name in cases if cases[name] > 1 and before[name] != after[name]]
    changed.sort(key=lambda name: (after[name] - before[name], name))
    rows = [GroupRow(name, cases[name], before[name], after[name]) for name in changed]
    return tuple(rows[:MOST_GROUPS])


def _notes(labels: NDArray[np.str_], known: set[str]) -> tuple[str, ...]:
    strange = Counter(label for label in labels.tolist() if label not in known)
    return tuple(
        f"{count} frozen boxes are of {name}, which neither model knows; they are left out"
        for name, count in sorted(strange.items())
    )
