"""Is a challenger worse than the champion? Claims on shares of cases, and the verdict on them.

A challenger is promoted when it is not worse on the primary figure and on every class or size
band (each lower bound above its margin; all must hold, so no correction for their number:
an intersection-union test, Berger 1982), and when it is surely better, or has learned classes
that the champion does not know. Neither worse nor better is no reason for a change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from medvit.metrics.classification import wilson_interval
from medvit.metrics.paired import ROUNDS, Difference, Indices, McNemar, mcnemar

Bools = NDArray[np.bool_]
Answer = Literal["promote", "refuse", "undecided"]
Standing = Literal["not worse", "unclear", "worse", "insufficient"]

LEVEL = 0.05
"""Of the exact tests, two-sided, at the first look at a frozen set."""

Z_95 = 1.959964
"""Half-width of a 95 % interval in standard errors."""

CHUNK = 250
"""Draws held at a time."""


@dataclass(frozen=True, slots=True)
class Claim:
    """How a challenger does on some cases, beside the champion.

    Attributes:
        name: Of the figure, class or size band.
        cases: How many there are.
        difference: None where no interval could be drawn.
        flips: Cases that one model got right and the other wrong.
        margin: Loss that is borne.
        enough: Whether there are cases and groups enough to say that it did not get worse.
        is_share: Whether the figure is the share of right cases, which `flips` tests exactly.
    """

    name: str
    cases: int
    difference: Difference | None
    flips: McNemar
    margin: float
    enough: bool
    is_share: bool = True

    @property
    def is_worse(self) -> bool:
        """Whether the interval lies below 0 and reaches beyond the margin."""
        difference = self.difference
        return difference is not None and difference.high < 0 and difference.low <= -self.margin

    @property
    def standing(self) -> Standing:
        """What the cases say."""
        if self.difference is None or not self.enough:
            return "insufficient"
        if self.difference.is_not_worse(self.margin):
            return "not worse"
        return "worse" if self.is_worse else "unclear"


@dataclass(frozen=True, slots=True)
class Learned:
    """A class that only the challenger knows.

    Attributes:
        name: Of the class.
        hits: Frozen cases of it that the challenger names.
        cases: Frozen cases of it.
    """

    name: str
    hits: int
    cases: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the recall."""
        return wilson_interval(self.hits, self.cases)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says, and why.

    Attributes:
        answer: `promote` alone lets a model into production by itself.
        reasons: Sentences; the first one decides.
        is_better: Whether the challenger is surely better on the primary figure.
    """

    answer: Answer
    reasons: tuple[str, ...]
    is_better: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a verdict is taken from.

    Attributes:
        primary: The figure that was fixed beforehand.
        parts: Every class or size band.
        learned: Classes that only the challenger knows.
        lost: Classes of frozen cases that only the champion knows, with their cases.
    """

    primary: Claim
    parts: tuple[Claim, ...]
    learned: tuple[Learned, ...] = ()
    lost: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Draws:
    """How intervals are drawn, and when there is enough to draw from.

    Attributes:
        rounds: Draws of groups.
        seed: Of the draws.
        least_cases: Of a part.
        least_groups: Of a part.
    """

    rounds: int = ROUNDS
    seed: int = 0
    least_cases: int = 30
    least_groups: int = 10


def share_claims(
    challenger: Bools,
    champion: Bools,
    groups: Indices,
    *,
    parts: Mapping[str, Bools],
    margins: Mapping[str, float],
    draws: Draws,
) -> tuple[Claim, ...]:
    """Return a claim on the share of right answers in each part; all of them see one draw.

    Args:
        challenger: (n,), whether it was right.
        champion: (n,), of the same cases in the same order.
        groups: (n,) of each case: patients or parts, drawn whole.
        parts: By name, which cases belong to it, (n,) each.
        margins: Of each part.
        draws: How intervals are drawn.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    gain = challenger.astype(np.float64) - champion
    inside = np.stack([parts[name] for name in parts]).astype(np.float64)  # (p, n)
    count = int(numbers.max()) + 1
    cases, gains = np.zeros((2, count, len(parts)))
    np.add.at(cases, numbers, inside.T)
    np.add.at(gains, numbers, (inside * gain).T)
    drawn = _drawn(gains, cases, draws)
    claims = []
    for at, (name, member) in enumerate(parts.items()):
        held = int((cases[:, at] > 0).sum())
        n = int(member.sum())
        difference = None
        if held >= 2:
            edges = _edges(drawn[:, at])
            right, before = challenger[member].mean(), champion[member].mean()
            difference = Difference(float(right), float(before), *edges, groups=held)
        enough = n >= draws.least_cases and held >= draws.least_groups
        flips = mcnemar(challenger[member], champion[member])
        claims.append(Claim(name, n, difference, flips, margins[name], enough))
    return tuple(claims)


def weigh(evidence: Evidence, *, holds_rare: bool, learned_recall: float, look: int = 1) -> Verdict:
    """Return whether a challenger may take the champion's place.

    Args:
        evidence: What was measured.
        holds_rare: Whether parts with too few cases keep it from promotion.
        learned_recall: Recall that a new class must surely reach to count as learned.
        look: Which challenger this is at these frozen cases, from 1.
    """
    primary, level = evidence.primary, level_at(look)
    better = is_better(primary, level=level)
    faults = [*_losses(evidence), *_worse(evidence, holds_rare=holds_rare)]
    if faults:
        return Verdict("refuse", tuple(faults), better)
    doubts = _doubts(evidence, holds_rare=holds_rare)
    learned = [each for each in evidence.learned if each.interval[0] >= learned_recall]
    gains = [
        f"learned {each.name}: {each.hits} of {each.cases} frozen cases named" for each in learned
    ]
    if better:
        gains.insert(0, f"better on {primary.name}: {told(primary)}")
    doubts += [
        f"{each.name} is new, and {each.hits} of {each.cases} frozen cases are too few or too "
        f"wrong to say that it is learned (recall surely above {learned_recall:g})"
        for each in evidence.learned
        if each not in learned and not gains
    ]
    if not doubts and gains:
        return Verdict(
            "promote", (*gains, f"not worse on {primary.name} and on every part"), better
        )
    if not gains:
        doubts.insert(0, f"not surely better on {primary.name}: {told(primary)}")
        doubts[0] += _why_not(primary, level=level)
    return Verdict("undecided", (*doubts, *gains), better)


def level_at(look: int) -> float:
    """Return the level of the test at the n-th look at the same frozen cases.

    Levels fall as 1 / (n (n + 1)) and add up to twice the first. So however many challengers
    are held against a frozen set, the chance that any one that is only equal gets promoted as
    better stays below 5 % (half of the two-sided sum; Bonferroni).

    Examples:
        >>> [round(level_at(look), 4) for look in (1, 2, 3, 10)]
        [0.05, 0.0167, 0.0083, 0.0009]
        >>> sum(level_at(look) for look in range(1, 100_000)) < 2 * LEVEL
        True
    """
    return 2 * LEVEL / (look * (look + 1))


def is_better(claim: Claim, *, level: float = LEVEL) -> bool:
    """Whether the interval lies above 0 and the exact test, if there is one, agrees.

    At other levels than 5 % the lower half of the interval is stretched as a normal one.
    """
    difference = claim.difference
    if difference is None or not claim.enough:
        return False
    stretch = float(stats.norm.isf(level / 2)) / Z_95
    low = difference.value - (difference.value - difference.low) * max(1.0, stretch)
    return low > 0 and (not claim.is_share or claim.flips.p < level)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values adjusted for their number (Holm 1979).

    Examples:
        >>> [round(p, 2) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = highest
    return tuple(adjusted)


def told(claim: Claim) -> str:
    """Return the difference of a claim as people write it."""
    if claim.difference is None:
        return f"no interval, {claim.cases} cases"
    d = claim.difference
    return f"{d.champion:.3f} to {d.challenger:.3f} ({d.value:+.3f}, {d.low:+.3f} to {d.high:+.3f})"


def _losses(evidence: Evidence) -> list[str]:
    return [
        f"{name} is unknown to the challenger, and {cases} frozen cases show it"
        for name, cases in (evidence.lost or {}).items()
    ]


def _worse(evidence: Evidence, *, holds_rare: bool) -> list[str]:
    """Return what is surely worse, and rare parts that lost more than is borne."""
    primary = evidence.primary
    faults = [f"worse on {primary.name}: {told(primary)}"] if primary.is_worse else []
    adjusted = holm([part.flips.p for part in evidence.parts])
    for part, p in zip(evidence.parts, adjusted, strict=True):
        lost = part.flips.lost - part.flips.gained
        if part.is_worse and p < LEVEL:
            faults.append(f"worse on {part.name}: {told(part)}")
        elif holds_rare and part.standing == "insufficient" and lost > part.margin * part.cases:
            faults.append(f"{part.name}: {lost} of {part.cases} cases were lost, {told(part)}")
    return faults


def _doubts(evidence: Evidence, *, holds_rare: bool) -> list[str]:
    claims = (evidence.primary, *evidence.parts)
    doubts = [
        f"not shown to be less than {claim.margin:g} worse on {claim.name}: {told(claim)}"
        for claim in claims
        if claim.standing in {"unclear", "worse"}
    ]
    rare = [
        f"{claim.name} ({claim.cases})"
        for claim in claims
        if claim.standing == "insufficient" and (holds_rare or claim is evidence.primary)
    ]
    return [*doubts, *([f"too few cases to judge {', '.join(rare)}"] if rare else [])]


def _why_not(claim: Claim, *, level: float) -> str:
    """Return what is missing, where the interval alone would say that it is better."""
    if claim.is_share and not claim.flips.can_decide:
        flipped = claim.flips.gained + claim.flips.lost
        return f"; not enough evidence, only {flipped} cases were answered differently"
    if level < LEVEL and is_better(claim):
        return f"; it would have been at a first look, but this one asks for p below {level:.2g}"
    return ""


def _drawn(
    gains: NDArray[np.float64], cases: NDArray[np.float64], draws: Draws
) -> NDArray[np.float64]:
    """Return the gain of every part in every draw, (rounds, parts); NaN where it has no case."""
    rng, count = np.random.default_rng(draws.seed), len(gains)
    even = np.full(count, 1 / count)
    pieces = []
    for start in range(0, draws.rounds, CHUNK):
        size = min(CHUNK, draws.rounds - start)
        weights = rng.multinomial(count, even, size=size).astype(np.float64)
        with np.errstate(invalid="ignore"):
            pieces.append((weights @ gains) / (weights @ cases))
    return np.concatenate(pieces)


def _edges(drawn: NDArray[np.float64]) -> tuple[float, float]:
    values = np.sort(drawn[np.isfinite(drawn)])
    return float(values[floor(0.025 * len(values))]), float(values[floor(0.975 * len(values))])
