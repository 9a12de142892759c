"""Which marks of a scan hit which finding, by the rules of LUNA16."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from medvit.data.annotated import UNMEASURED_DIAMETER_MM

Floats = NDArray[np.float64]
Rows = dict[str, list[tuple[float, float, float, float]]]

MARKS_PER_SCAN = 100


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
class ScanMatches:
    """What the marks of one scan are.

    Attributes:
        hits: Scores of the nodules that were hit, each by its best mark.
        false: Scores of the marks that hit nothing.
        nodules: How many there are.
        ignored_excluded: Marks on excluded findings.
        ignored_double: Further marks on a nodule that was hit.
        candidates: Marks that counted, at most 100.
        series_uid: Of the scan.
        places: Nodules (nodules, 4): x, y, z in LPS mm and diameter in mm.
        scores: Best score of each nodule, NaN where nobody hit it.
    """

    hits: Floats
    false: Floats
    nodules: int
    ignored_excluded: int
    ignored_double: int
    candidates: int
    series_uid: str = ""
    places: Floats = field(default_factory=lambda: np.empty((0, 4)))
    scores: Floats = field(default_factory=lambda: np.empty(0))

    def within(self, low_mm: float, high_mm: float) -> ScanMatches:
        """Return the scan with only the nodules of diameters in [low, high); all false marks."""
        is_in = (self.places[:, 3] >= low_mm) & (self.places[:, 3] < high_mm)
        scores = self.scores[is_in]
        return replace(
            self,
            hits=scores[~np.isnan(scores)],
            nodules=int(is_in.sum()),
            places=self.places[is_in],
            scores=scores,
        )


def match_scans(
    predictions: Iterable[Mark],
    annotations: Iterable[Annotation],
    *,
    excluded: Iterable[Annotation] | None = None,
    series: Sequence[str] | None = None,
) -> list[ScanMatches]:
    """Tell hits from false marks, scan by scan.

    Args:
        predictions: Marks; at most 100 of a scan count.
        annotations: Nodules that are to be found.
        excluded: Findings that neither help nor hurt.
        series: The scans that were searched; without it, those that have a mark
            or an annotation.

    Raises:
        ValueError: If a number is not finite.
    """
    marks: Rows = defaultdict(list)
    nodules: Rows = defaultdict(list)
    others: Rows = defaultdict(list)
    for mark in predictions:
        marks[mark.series_uid].append((mark.x_mm, mark.y_mm, mark.z_mm, mark.probability))
    for found, rows in ((nodules, annotations), (others, excluded or ())):
        for row in rows:
            found[row.series_uid].append((row.x_mm, row.y_mm, row.z_mm, row.diameter_mm))
    listed = dict.fromkeys(series if series is not None else [*nodules, *marks])
    return [
        _match(uid, _table(marks, uid), _table(nodules, uid), _table(others, uid)) for uid in listed
    ]


def _table(rows: Rows, uid: str) -> Floats:
    table = np.array(rows.get(uid, []), dtype=np.float64).reshape(-1, 4)
    bad = ~np.isfinite(table).all(axis=1)
    if bad.any():
        msg = f"series {uid}: numbers must be finite, got {table[bad][0].tolist()}"
        raise ValueError(msg)
    return table


def _match(uid: str, marks: Floats, nodules: Floats, others: Floats) -> ScanMatches:
    """Match the marks (n, 4) of one scan; the last column is a score or a diameter."""
    if len(marks) > MARKS_PER_SCAN:
        limit = np.sort(marks[:, 3])[::-1][MARKS_PER_SCAN]
        marks = marks[marks[:, 3] > limit]
    on_nodule = _hits(marks, nodules)  # (marks, nodules)
    on_other = _hits(marks, others).any(axis=1)
    is_left = ~on_nodule.any(axis=1)
    is_hit = on_nodule.any(axis=0)
    best = np.where(on_nodule, marks[:, 3:], -np.inf).max(axis=0, initial=-np.inf)
    return ScanMatches(
        hits=best[is_hit],
        false=marks[is_left & ~on_other, 3],
        nodules=len(nodules),
        ignored_excluded=int((is_left & on_other).sum()),
        ignored_double=int(on_nodule.sum()) - int(is_hit.sum()),
        candidates=len(marks),
        series_uid=uid,
        places=nodules,
        scores=np.where(is_hit, best, np.nan),
    )


def _hits(marks: Floats, findings: Floats) -> NDArray[np.bool_]:
    """Return (marks, findings): which mark lies strictly inside which finding."""
    diameters_mm = np.where(findings[:, 3] < 0, UNMEASURED_DIAMETER_MM, findings[:, 3])
    squared_mm2 = ((marks[:, None, :3] - findings[None, :, :3]) ** 2).sum(axis=2)
    return np.asarray(squared_mm2 < (diameters_mm / 2) ** 2)
