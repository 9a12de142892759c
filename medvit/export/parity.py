"""The parity gate: an exported network agrees with its source on cases, or it is refused."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medvit.export.onnx import MOST_DIFFERENCE, MOST_RELATIVE, distance, excess
from medvit.export.sidecar import Decision, Rule

ENOUGH_CASES = 200
MOST_INT8_FLIPS = 0.005
"""Share of decisions that INT8 may change."""
SAME_BOX = 0.9
"""Overlap (intersection over union) from which two marks are the same."""
BATCH = 3

Raw = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared.

    Attributes:
        prepare: Turns a case into an input with a batch of one.
        run: Turns inputs into outputs.
        rule: Turns outputs into decisions.
    """

    prepare: Callable[[Raw], Tensor]
    run: Callable[[Tensor], tuple[Tensor, ...]]
    rule: Rule


@dataclass(frozen=True, slots=True)
class Parity:
    """What a comparison found.

    Attributes:
        difference: Largest absolute difference of an output, over all cases and a batch of them.
        relative: That difference over the largest value of the output.
        decisions: Labels of images, or marks of tiles, of the side that has more of them.
        flips: Those of them that the other side does not share.
        source_ms: Seconds of each case in the source, times 1000.
        exported_ms: The same for the exported network.
        same_rule: Whether both sides decide by the same classes, temperature and threshold.
    """

    cases: int
    difference: float
    relative: float
    decisions: int
    flips: int
    source_ms: tuple[float, ...]
    exported_ms: tuple[float, ...]
    same_rule: bool

    def as_json(self) -> dict[str, Any]:
        """Return the figures as `parity.json` holds them."""
        low, high = wilson(self.flips, self.decisions)
        return {
            "cases": self.cases,
            "max_abs_diff": _plain(self.difference),
            "max_rel_diff": _plain(self.relative),
            "decisions": self.decisions,
            "flips": self.flips,
            "flip_share_interval": [round(low, 5), round(high, 5)],
            "latency_ms": {
                "source": _latency(self.source_ms),
                "exported": _latency(self.exported_ms),
            },
        }

    def faults(self, *, quantised: bool) -> list[str]:
        """Return why the exported network must not be used; empty when it may be."""
        found = []
        if not self.cases:
            found.append("there was no case to compare")
        if not self.same_rule:
            found.append("classes, temperature or threshold are not those of the model's card")
        if not math.isfinite(self.difference):
            found.append("outputs are not finite, or have another shape")
        elif not quantised and excess(self.difference, self.relative) > 1:
            found.append(
                f"outputs differ by {self.difference:.2e} ({self.relative:.2e} of their range), "
                f"at most {MOST_DIFFERENCE:.0e} or {MOST_RELATIVE:.0e} is let through"
            )
        most = MOST_INT8_FLIPS * self.decisions if quantised else 0
        if self.flips > most:
            found.append(
                f"{self.flips} of {self.decisions} decisions changed, at most "
                f"{most / max(1, self.decisions):.1%} may"
            )
        return found


def compare(
    source: Side,
    exported: Side,
    cases: Sequence[Raw],
    *,
    progress: Callable[[int], None] = lambda _done: None,
) -> Parity:
    """Run both sides, each with its own preprocessing, on cases one by one and on a batch."""
    difference = relative = 0.0
    times: tuple[list[float], list[float]] = ([], [])
    decisions = flips = 0
    firsts: list[tuple[Tensor, tuple[Tensor, ...]]] = []
    for number, case in enumerate(cases):
        wanted = _timed(source, source.prepare(case.copy()), times[0])
        x = exported.prepare(case.copy())
        found = _timed(exported, x, times[1])
        difference, relative = _worse((difference, relative), wanted, found)
        one, other = source.rule.decide(wanted), exported.rule.decide(found)
        same = count_same(one, other)
        taken = max(len(one), len(other))
        decisions += taken
        flips += taken - same
        if len(firsts) < BATCH:
            firsts.append((x, wanted))
        progress(number + 1)
    if firsts:
        together = tuple(torch.cat(part) for part in zip(*(out for _, out in firsts), strict=True))
        found = exported.run(torch.cat([x for x, _ in firsts]))
        difference, relative = _worse((difference, relative), together, found)
    return Parity(
        cases=len(cases),
        difference=difference,
        relative=relative,
        decisions=decisions,
        flips=flips,
        source_ms=tuple(times[0]),
        exported_ms=tuple(times[1]),
        same_rule=source.rule == exported.rule,
    )


def count_same(one: Sequence[Decision], other: Sequence[Decision]) -> int:
    """Return how many decisions two sides share, each counted once.

    Examples:
        >>> count_same([("scratch", True)], [("scratch", True)])
        1
        >>> count_same([(5.0, 5.0, 5.0, 4.0)], [(5.0, 5.0, 5.1, 4.0), (9.0, 9.0, 9.0, 4.0)])
        1
    """
    left = list(other)
    same = 0
    for decision in one:
        match = next((each for each in left if _is_same(decision, each)), None)
        if match is not None:
            left.remove(match)
            same += 1
    return same


def wilson(count: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927); the whole range for nothing.

    Examples:
        >>> [round(end, 4) for end in wilson(0, 200)]
        [0.0, 0.0188]
    """
    if not total:
        return 0.0, 1.0
    z, share = 1.959964, count / total
    middle = share + z * z / (2 * total)
    reach = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total**2))
    whole = 1 + z * z / total
    return max(0.0, (middle - reach) / whole), min(1.0, (middle + reach) / whole)


def _is_same(one: Decision, other: Decision) -> bool:
    if len(one) == 2 or len(other) == 2:
        return one == other
    shared = 1.0
    for a, b in zip(one[:3], other[:3], strict=True):
        low = max(a - one[3] / 2, b - other[3] / 2)
        shared *= max(0.0, min(a + one[3] / 2, b + other[3] / 2) - low)
    return shared >= SAME_BOX * (one[3] ** 3 + other[3] ** 3 - shared)


def _timed(side: Side, x: Tensor, times: list[float]) -> tuple[Tensor, ...]:
    start = time.perf_counter()
    out = side.run(x)
    times.append((time.perf_counter() - start) * 1000)
    return out


def _worse(
    so_far: tuple[float, float], wanted: tuple[Tensor, ...], found: tuple[Tensor, ...]
) -> tuple[float, float]:
    if len(wanted) != len(found):
        return math.inf, math.inf
    pairs = [distance(one, other) for one, other in zip(wanted, found, strict=True)]
    return max([so_far, *pairs], key=lambda pair: excess(*pair))


def _latency(times_ms: Sequence[float]) -> dict[str, float]:
    """Return the median and the 95th percentile; the first case only warms up."""
    kept = times_ms[1:] or times_ms
    if not kept:
        return {}
    p50, p95 = np.percentile(kept, [50, 95]).tolist()
    return {"p50": round(p50, 3), "p95": round(p95, 3)}


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
