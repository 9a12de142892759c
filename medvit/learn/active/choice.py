"""Which cases a reader should see first: doubtful ones that are unlike each other.

Uncertainty alone asks for near copies of the same hard case; distance alone asks for freaks that
the model is sure about. Their product, chosen greedily, is k-centre selection (Sener 2018, arXiv
1708.00489) in which each point weighs as much as there are reasons to ask about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

WEIGHTS: Mapping[str, float] = {
    "uncertainty": 1.0,
    "suspect_label": 1.0,
    "ood": 0.5,
    "drift": 0.5,
}
"""How much a reason counts: strange cases are worth a look, but half of them teach little."""

LEAST_REASON = 0.01
"""A case without any reason still has its turn, last."""


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Cases that could be asked about.

    Attributes:
        features: (n, d); d may be 0, then nothing is told of likeness.
        reasons: (n,) for each name in `WEIGHTS`, 0 to 1.
        groups: The scan, part or folder of each case.
        asked: (n,), cases that have an answer already; none if not given.
    """

    features: Floats
    reasons: Mapping[str, Floats]
    groups: Sequence[str] = ()
    asked: Flags | None = None

    def __post_init__(self) -> None:
        n = len(self.features)
        if self.features.ndim != 2 or not np.isfinite(self.features).all():
            msg = f"features must be finite and of shape (n, d), got {self.features.shape}"
            raise ValueError(msg)
        for name, values in self.reasons.items():
            if name not in WEIGHTS:
                msg = f"a reason is one of {', '.join(WEIGHTS)}, got {name!r}"
                raise ValueError(msg)
            if values.shape != (n,) or not ((values >= 0) & (values <= 1)).all():
                msg = f"{name} must be {n} values of 0 to 1, got shape {values.shape}"
                raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Choice:
    """A case to ask about.

    Attributes:
        index: Its place in the pool.
        priority: 0 to 1; never above that of the choice before.
        reason: Strength of all reasons together, 0 to 1.
        distance: From what was asked or chosen before, 1 for the farthest two of the pool.
    """

    index: int
    priority: float
    reason: float
    distance: float


@dataclass(slots=True)
class _Greedy:
    """The choices so far.

    Attributes:
        nearest: (n,), distance of each case from the nearest one asked or chosen.
    """

    scaled: Floats
    nearest: Floats
    shares: Floats
    numbers: NDArray[np.intp]
    taken: Flags
    choices: list[Choice] = field(default_factory=list)


def choose(pool: Pool, *, count: int) -> list[Choice]:
    """Return the cases to ask about, the best first.

    A case's priority is its reasons, times its distance from what was asked or chosen before,
    divided by the number of choices from its group, this one included: of a scan with a
    thousand cases the second counts half, as it does of a scan with two.

    Args:
        pool: All cases, those with an answer too.
        count: How many to choose; fewer come back where there are no more.

    Examples:
        >>> twins = Pool(np.array([[0.0], [0.1], [5.0]]), {"uncertainty": np.array([1, 0.9, 0.5])})
        >>> [choice.index for choice in choose(twins, count=2)]
        [0, 2]
    """
    if not len(pool.features):
        return []
    reasons = strength(pool)
    state = _start(pool)
    for _ in range(min(count, int((~state.taken).sum()))):
        values = np.where(state.taken, -1.0, reasons * state.nearest / state.shares[state.numbers])
        best = int(values.argmax())
        distance = float(state.nearest[best])
        state.choices.append(Choice(best, float(values[best]), float(reasons[best]), distance))
        _take(state, best)
    return state.choices


def strength(pool: Pool) -> Floats:
    """Return how much speaks for each case, (n,): `1 - prod(1 - weight * reason)`."""
    silent = np.ones(len(pool.features))
    for name, values in pool.reasons.items():
        silent *= 1 - WEIGHTS[name] * values
    found: Floats = np.maximum(1 - silent, LEAST_REASON)
    return found


def _start(pool: Pool) -> _Greedy:
    n = len(pool.features)
    spread = pool.features.std(axis=0)
    scaled = (pool.features - pool.features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    # Twice the largest distance from the middle is no less than that of any two cases.
    widest = 2 * float(np.linalg.norm(scaled, axis=1).max(initial=0.0))
    scaled = scaled / widest if widest else scaled
    groups = list(pool.groups) or [""] * n
    names, numbers = np.unique(groups, return_inverse=True)
    taken = np.zeros(n, dtype=bool) if pool.asked is None else pool.asked.copy()
    state = _Greedy(scaled, np.ones(n), np.ones(len(names)), numbers, taken)
    for place in np.flatnonzero(taken):
        _note(state, int(place))
    return state


def _take(state: _Greedy, place: int) -> None:
    state.taken[place] = True
    state.shares[state.numbers[place]] += 1
    _note(state, place)


def _note(state: _Greedy, place: int) -> None:
    """Shorten distances to a case; without features every case stays as far as it was."""
    if state.scaled.shape[1]:
        apart = np.linalg.norm(state.scaled - state.scaled[place], axis=1)
        state.nearest = np.minimum(state.nearest, apart)
