"""Sensitivity against false positives per scan, by the rules of LUNA16.

The rules are those of the challenge's evaluation script, point by point: marks
count by strictly smaller distance, hits beside the best one are ignored, and
between the points of the curve sensitivity is linear.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor, inf

import numpy as np
from numpy.typing import NDArray

from medvit.metrics.froc_matching import Annotation, Floats, Mark, ScanMatches, match_scans

__all__ = [
    "FP_PER_SCAN",
    "Annotation",
    "FrocBand",
    "FrocResult",
    "Mark",
    "ScanMatches",
    "SizeFroc",
    "bootstrap_froc",
    "froc",
    "froc_by_diameter",
    "froc_of",
    "match_scans",
    "sensitivity_at",
    "thresholds_at",
]

Rates = tuple[float, ...]
Interval = tuple[float, float]

FP_PER_SCAN: Rates = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
ROUNDS = 1000
DIAMETER_EDGES_MM = (0.0, 3.0, 6.0, 10.0, 20.0, inf)


@dataclass(frozen=True, slots=True)
class FrocResult:
    """A scored detector.

    Attributes:
        fp_per_scan: The seven rates.
        sensitivity: Sensitivity at each of them.
        cpm: Mean of `sensitivity`.
        n_scans: Listed scans, those without marks included.
        n_annotations: Nodules in them.
        true_positives: Nodules that were hit.
        false_positives: Marks that hit nothing.
        ignored_excluded: Marks on excluded findings.
        ignored_double: Further marks on a nodule that was hit.
        candidates: Marks that counted, at most 100 a scan.
        max_sensitivity: Share of nodules that were hit at any score.
    """

    fp_per_scan: Rates
    sensitivity: Rates
    cpm: float
    n_scans: int
    n_annotations: int
    true_positives: int
    false_positives: int
    ignored_excluded: int
    ignored_double: int
    candidates: int
    max_sensitivity: float

    @property
    def false_negatives(self) -> int:
        """Nodules that nobody hit."""
        return self.n_annotations - self.true_positives


@dataclass(frozen=True, slots=True)
class FrocBand:
    """A 95 % bootstrap interval: (low, high) of the CPM and of each sensitivity."""

    cpm: Interval
    sensitivity: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class SizeFroc:
    """The nodules of one size: diameters in [low, high) mm, against all false marks."""

    low_mm: float
    high_mm: float
    result: FrocResult
    band: FrocBand

    @property
    def name(self) -> str:
        """The range as people write it."""
        if self.high_mm == inf:
            return f"{self.low_mm:g} mm and more"
        return f"{self.low_mm:g} to {self.high_mm:g} mm"


def froc(
    predictions: Iterable[Mark],
    annotations: Iterable[Annotation],
    *,
    excluded: Iterable[Annotation] | None = None,
    series: Sequence[str] | None = None,
) -> FrocResult:
    """Score marks against annotated nodules; arguments as those of `match_scans`.

    Raises:
        ValueError: If a number is not finite, or the scans hold no nodule.

    Examples:
        >>> marks = [Mark("1.2.3", 10.0, -4.0, 31.0, 0.9)]
        >>> froc(marks, [Annotation("1.2.3", 11.0, -4.0, 30.0, 6.0)]).cpm
        1.0
    """
    return froc_of(match_scans(predictions, annotations, excluded=excluded, series=series))


def froc_of(scans: Sequence[ScanMatches]) -> FrocResult:
    """Score scans whose marks are matched already.

    Raises:
        ValueError: If the scans hold no nodule.
    """
    sensitivity = sensitivity_at(scans, FP_PER_SCAN)
    n_annotations = sum(scan.nodules for scan in scans)
    true_positives = sum(len(scan.hits) for scan in scans)
    return FrocResult(
        fp_per_scan=FP_PER_SCAN,
        sensitivity=tuple(sensitivity.tolist()),
        cpm=float(sensitivity.mean()),
        n_scans=len(scans),
        n_annotations=n_annotations,
        true_positives=true_positives,
        false_positives=sum(len(scan.false) for scan in scans),
        ignored_excluded=sum(scan.ignored_excluded for scan in scans),
        ignored_double=sum(scan.ignored_double for scan in scans),
        candidates=sum(scan.candidates for scan in scans),
        max_sensitivity=true_positives / n_annotations,
    )


def sensitivity_at(scans: Sequence[ScanMatches], rates: Sequence[float]) -> Floats:
    """Return the height of the curve at rates of false positives per scan.

    Raises:
        ValueError: If the scans hold no nodule.
    """
    return _Points.of(scans).sensitivity_at(rates, np.ones(len(scans)))


def thresholds_at(scans: Sequence[ScanMatches], rates: Sequence[float]) -> list[float | None]:
    """Return the lowest score that keeps to each rate; None where even the best breaks it.

    Raises:
        ValueError: If the scans hold no nodule.
    """
    points = _Points.of(scans)
    _, false = points.curve(np.ones(len(scans)))
    scores = points.score[points.is_last]
    kept = [int(np.searchsorted(false, rate, side="right")) for rate in rates]
    return [float(scores[count - 1]) if count else None for count in kept]


def bootstrap_froc(
    scans: Sequence[ScanMatches],
    *,
    rng: np.random.Generator,
    rounds: int = ROUNDS,
    rates: Sequence[float] = FP_PER_SCAN,
) -> FrocBand:
    """Return how far the figures of `froc` move when scans are drawn with replacement.

    Percentiles are those of the original: the sorted value at index
    floor(0.025 n) and floor(0.975 n). A draw without any nodule is drawn again.

    Args:
        scans: What `match_scans` returns.
        rng: Source of the draws.
        rounds: How many draws.
        rates: Where sensitivity is wanted; the CPM is that of the seven rates always.

    Raises:
        ValueError: If the scans hold no nodule.
    """
    points = _Points.of(scans)
    wanted = (*rates, *FP_PER_SCAN)
    drawn = np.empty((rounds, len(wanted)))
    for number in range(rounds):
        weight = np.zeros(len(scans))
        while not weight @ points.nodules:
            weight = np.bincount(
                rng.integers(len(scans), size=len(scans)), minlength=len(scans)
            ).astype(np.float64)
        drawn[number] = points.sensitivity_at(wanted, weight)
    cpm = drawn[:, len(rates) :].mean(axis=1)
    table = np.sort(np.column_stack([drawn[:, : len(rates)], cpm]), axis=0)
    low, high = table[floor(0.025 * rounds)], table[floor(0.975 * rounds)]
    band = tuple((float(a), float(b)) for a, b in zip(low, high, strict=True))
    return FrocBand(cpm=band[-1], sensitivity=band[:-1])


def froc_by_diameter(
    scans: Sequence[ScanMatches],
    *,
    rng: np.random.Generator,
    rounds: int = ROUNDS,
    edges_mm: Sequence[float] = DIAMETER_EDGES_MM,
) -> list[SizeFroc]:
    """Score the nodules of each size by themselves, against the false marks of all.

    Args:
        scans: What `match_scans` returns.
        rng: Source of the draws for the bands.
        rounds: How many draws.
        edges_mm: Borders of the sizes, rising; sizes without nodules are left out.
    """
    bands = []
    for low_mm, high_mm in pairwise(edges_mm):
        part = [scan.within(low_mm, high_mm) for scan in scans]
        if sum(scan.nodules for scan in part):
            band = bootstrap_froc(part, rng=rng, rounds=rounds)
            bands.append(SizeFroc(low_mm, high_mm, froc_of(part), band))
    return bands


@dataclass(frozen=True, slots=True)
class _Points:
    """All scores, best first, with the scan each came from; the last of equal scores counts."""

    score: Floats
    is_hit: NDArray[np.bool_]
    is_last: NDArray[np.bool_]
    scan: NDArray[np.intp]
    nodules: Floats

    @classmethod
    def of(cls, scans: Sequence[ScanMatches]) -> _Points:
        if not sum(scan.nodules for scan in scans):
            msg = f"sensitivity needs a nodule: {len(scans)} scans hold none; check the series UIDs"
            raise ValueError(msg)
        parts = [np.concatenate([scan.hits, scan.false]) for scan in scans]
        kinds = [
            np.arange(len(part)) < len(scan.hits) for part, scan in zip(parts, scans, strict=True)
        ]
        score, is_hit = np.concatenate(parts), np.concatenate(kinds)
        number = np.repeat(np.arange(len(scans)), [len(part) for part in parts])
        order = np.argsort(-score, kind="stable")
        score = score[order]
        is_last = np.append(score[1:] != score[:-1], True)[: len(score)]
        nodules = np.array([scan.nodules for scan in scans], dtype=np.float64)
        return cls(score, is_hit[order], is_last, number[order], nodules)

    def curve(self, weight: Floats) -> tuple[Floats, Floats]:
        """Return sensitivity and false positives per scan at each distinct score, falling."""
        counts = weight[self.scan]
        hits = np.cumsum(counts * self.is_hit)[self.is_last] / (weight @ self.nodules)
        false = np.cumsum(counts * ~self.is_hit)[self.is_last] / weight.sum()
        return hits, false

    def sensitivity_at(self, rates: Sequence[float], weight: Floats) -> Floats:
        """Return sensitivities, with each scan counted `weight` times.

        The curve has one point per distinct score and starts at (0, 0).
        """
        hits, false = self.curve(weight)
        return np.asarray(np.interp(rates, np.append(0.0, false), np.append(0.0, hits)))
