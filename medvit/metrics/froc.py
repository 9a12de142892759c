"""Sensitivity against false positives per scan, by the rules of LUNA16.

The rules are those of the challenge's evaluation script, point by point: marks
count by strictly smaller distance, hits beside the best one are ignored, and
between the points of the curve sensitivity is linear.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rates = tuple[float, ...]
Rows = dict[str, list[tuple[float, float, float, float]]]

FP_PER_SCAN: Rates = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
MARKS_PER_SCAN = 100
UNMEASURED_DIAMETER_MM = 10.0


@dataclass(frozen=True, slots=True)
class Mark:
    """A detector's mark in LPS mm; the score need not lie in 0..1."""

    series_uid: str
    x_mm: float
    y_mm: float
    z_mm: float
    probability: float


@dataclass(frozen=True, slots=True)
class Annotation:
    """A finding of the readers in LPS mm; a negative diameter was not measured."""

    series_uid: str
    x_mm: float
    y_mm: float
    z_mm: float
    diameter_mm: float


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

    cpm: tuple[float, float]
    sensitivity: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class ScanMatches:
    """What the marks of one scan are: scores of hit nodules, scores of false marks."""

    hits: Floats
    false: Floats
    nodules: int
    ignored_excluded: int
    ignored_double: int
    candidates: int


def froc(
    predictions: Iterable[Mark],
    annotations: Iterable[Annotation],
    *,
    excluded: Iterable[Annotation] | None = None,
    series: Sequence[str] | None = None,
) -> FrocResult:
    """Score marks against annotated nodules.

    Args:
        predictions: Marks; at most 100 of a scan count.
        annotations: Nodules that are to be found.
        excluded: Findings that neither help nor hurt.
        series: The scans that were searched; without it, those that have a mark
            or an annotation.

    Raises:
        ValueError: If a number is not finite, or the scans hold no nodule.
    """
    scans = match_scans(predictions, annotations, excluded=excluded, series=series)
    points = _Points.of(scans)
    sensitivity = points.sensitivity_at(FP_PER_SCAN, np.ones(len(scans)))
    n_annotations = int(points.nodules.sum())
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


def bootstrap_froc(
    scans: Sequence[ScanMatches], *, rng: np.random.Generator, rounds: int = 1000
) -> FrocBand:
    """Return how far the figures of `froc` move when scans are drawn with replacement.

    Percentiles are those of the original: the sorted value at index
    floor(0.025 n) and floor(0.975 n). A draw without any nodule is drawn again.

    Args:
        scans: What `match_scans` returns.
        rng: Source of the draws.
        rounds: How many draws.

    Raises:
        ValueError: If the scans hold no nodule.
    """
    points = _Points.of(scans)
    drawn = np.empty((rounds, len(FP_PER_SCAN)))
    for number in range(rounds):
        weight = np.zeros(len(scans))
        while not weight @ points.nodules:
            weight = np.bincount(
                rng.integers(len(scans), size=len(scans)), minlength=len(scans)
            ).astype(np.float64)
        drawn[number] = points.sensitivity_at(FP_PER_SCAN, weight)
    table = np.sort(np.column_stack([drawn, drawn.mean(axis=1)]), axis=0)
    low, high = table[floor(0.025 * rounds)], table[floor(0.975 * rounds)]
    band = tuple((float(a), float(b)) for a, b in zip(low, high, strict=True))
    return FrocBand(cpm=band[-1], sensitivity=band[:-1])


def match_scans(
    predictions: Iterable[Mark],
    annotations: Iterable[Annotation],
    *,
    excluded: Iterable[Annotation] | None = None,
    series: Sequence[str] | None = None,
) -> list[ScanMatches]:
    """Tell hits from false marks, scan by scan; arguments as those of `froc`."""
    marks: Rows = defaultdict(list)
    nodules: Rows = defaultdict(list)
    others: Rows = defaultdict(list)
    for mark in predictions:
        marks[mark.series_uid].append((mark.x_mm, mark.y_mm, mark.z_mm, mark.probability))
    for found, rows in ((nodules, annotations), (others, excluded or ())):
        for row in rows:
            found[row.series_uid].append((row.x_mm, row.y_mm, row.z_mm, row.diameter_mm))
    listed = dict.fromkeys(series if series is not None else [*nodules, *marks])
    return [_match(_table(marks, uid), _table(nodules, uid), _table(others, uid)) for uid in listed]


def _table(rows: Rows, uid: str) -> Floats:
    table = np.array(rows.get(uid, []), dtype=np.float64).reshape(-1, 4)
    bad = ~np.isfinite(table).all(axis=1)
    if bad.any():
        msg = f"series {uid}: numbers must be finite, got {table[bad][0].tolist()}"
        raise ValueError(msg)
    return table


def _match(marks: Floats, nodules: Floats, others: Floats) -> ScanMatches:
    """Match the marks (n, 4) of one scan; the last column is a score or a diameter."""
    if len(marks) > MARKS_PER_SCAN:
        limit = np.sort(marks[:, 3])[::-1][MARKS_PER_SCAN]
        marks = marks[marks[:, 3] > limit]
    on_nodule = _hits(marks, nodules)  # (marks, nodules)
    on_other = _hits(marks, others).any(axis=1)
    is_left = ~on_nodule.any(axis=1)
    hit = on_nodule[:, on_nodule.any(axis=0)]
    return ScanMatches(
        hits=np.where(hit, marks[:, 3:], -np.inf).max(axis=0, initial=-np.inf),
        false=marks[is_left & ~on_other, 3],
        nodules=len(nodules),
        ignored_excluded=int((is_left & on_other).sum()),
        ignored_double=int(hit.sum()) - hit.shape[1],
        candidates=len(marks),
    )


def _hits(marks: Floats, findings: Floats) -> NDArray[np.bool_]:
    """Return (marks, findings): which mark lies strictly inside which finding."""
    diameters_mm = np.where(findings[:, 3] < 0, UNMEASURED_DIAMETER_MM, findings[:, 3])
    squared_mm2 = ((marks[:, None, :3] - findings[None, :, :3]) ** 2).sum(axis=2)
    return np.asarray(squared_mm2 < (diameters_mm / 2) ** 2)


@dataclass(frozen=True, slots=True)
class _Points:
    """All scores, best first, with the scan each came from."""

    score: Floats
    is_hit: NDArray[np.bool_]
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
        nodules = np.array([scan.nodules for scan in scans], dtype=np.float64)
        return cls(score[order], is_hit[order], number[order], nodules)

    def sensitivity_at(self, rates: Rates, weight: Floats) -> Floats:
        """Return sensitivities, with each scan counted `weight` times.

        The curve has one point per distinct score and starts at (0, 0).
        """
        counts = weight[self.scan]
        is_last = np.append(self.score[1:] != self.score[:-1], True)[: len(self.score)]
        hits = np.cumsum(counts * self.is_hit)[is_last] / (weight @ self.nodules)
        false = np.cumsum(counts * ~self.is_hit)[is_last] / weight.sum()
        return np.asarray(np.interp(rates, np.append(0.0, false), np.append(0.0, hits)))
