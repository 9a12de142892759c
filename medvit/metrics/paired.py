"""Two models on the same cases: how far apart they are, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Metric = Callable[[Indices], float]
"""A figure of the cases at the given places; a place may come more than once."""

ROUNDS = 2000
LEAST_DISCORDANT = 6
"""With fewer cases that only one model got right, no p-value can reach 0.05."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Challenger minus champion.

    Attributes:
        challenger: Its figure on all cases.
        champion: Likewise.
        low: Lower end of the 95 % interval of the difference.
        high: Upper end.
        groups: Patients or parts that were drawn.
    """

    challenger: float
    champion: float
    low: float
    high: float
    groups: int

    @property
    def value(self) -> float:
        """The difference on all cases."""
        return self.challenger - self.champion

    def is_not_worse(self, margin: float) -> bool:
        """Whether the challenger is surely worse by less than a margin."""
        return self.low > -margin

    @property
    def is_better(self) -> bool:
        """Whether the challenger is surely better."""
        return self.low > 0


@dataclass(frozen=True, slots=True)
class McNemar:
    """Cases that one model got right and the other wrong, and how likely that is by chance.

    Attributes:
        gained: Right only by the challenger.
        lost: Right only by the champion.
        p: Exact, two-sided.
    """

    gained: int
    lost: int
    p: float

    @property
    def can_decide(self) -> bool:
        """Whether so many cases could show a difference at all."""
        return self.gained + self.lost >= LEAST_DISCORDANT


def mcnemar(challenger: NDArray[np.bool_], champion: NDArray[np.bool_]) -> McNemar:
    """Compare which cases each model got right, exactly (McNemar 1947).

    Args:
        challenger: (n,), whether it was right.
        champion: (n,), of the same cases in the same order.

    Raises:
        ValueError: If they are not of the same cases.

    Examples:
        >>> right = np.array([True] * 12 + [False] * 3)
        >>> round(mcnemar(right, ~right).p, 3)
        0.035
    """
    if challenger.shape != champion.shape:
        msg = f"both models need the same cases, got {challenger.shape} and {champion.shape}"
        raise ValueError(msg)
    gained = int((challenger & ~champion).sum())
    lost = int((champion & ~challenger).sum())
    both = gained + lost
    p = min(1.0, 2 * float(stats.binom.cdf(min(gained, lost), both, 0.5))) if both else 1.0
    return McNemar(gained, lost, p)


def paired_difference(
    challenger: Metric,
    champion: Metric,
    groups: Indices,
    *,
    rng: np.random.Generator,
    rounds: int = ROUNDS,
) -> Difference:
    """Return how a figure differs, with an interval from drawing whole groups anew.

    Both models see the same draw. Percentiles are the sorted values at
    floor(0.025 n) and floor(0.975 n), as in `bootstrap_froc`.

    Args:
        challenger: Its figure; a draw for which either is not finite is drawn again.
        champion: Likewise.
        groups: (n,) of each case: patients or parts, never images.
        rng: Source of the draws.
        rounds: How many.

    Raises:
        ValueError: If there are fewer than two groups.
    """
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    if len(members) < 2:
        msg = f"an interval needs 2 groups or more, got {len(members)}"
        raise ValueError(msg)
    drawn: list[float] = []
    for _ in range(10 * rounds):
        chosen = rng.integers(len(members), size=len(members))
        places = np.concatenate([members[number] for number in chosen])
        difference = challenger(places) - champion(places)
        if np.isfinite(difference):
            drawn.append(difference)
        if len(drawn) == rounds:
            break
    if len(drawn) < rounds:
        msg = f"only {len(drawn)} of {rounds} draws have a figure; some class has too few cases"
        raise ValueError(msg)
    drawn.sort()
    low, high = drawn[floor(0.025 * rounds)], drawn[floor(0.975 * rounds)]
    everything = np.arange(len(groups))
    return Difference(challenger(everything), champion(everything), low, high, len(members))
