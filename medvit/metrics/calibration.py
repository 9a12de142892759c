"""How far stated probabilities are from the share that turns out true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medvit.metrics.froc_matching import ScanMatches

Floats = NDArray[np.float64]

FOLDS, LEAST_GROUPS = 5, 5
SMALLEST = 1e-9
"""Scores nearer to 0 or 1 are not told apart from it."""


def expected_calibration_error(
    confidence: ArrayLike, correct: ArrayLike, *, bins: int = 15, equal_mass: bool = False
) -> float:
    """Return the mean gap between confidence and accuracy, weighted by bin size.

    Guo 2017, arXiv 1706.04599, equation 3.

    Args:
        confidence: Probability of the label that was given, 0..1.
        correct: Whether that label is true.
        equal_mass: Bins of equal count: for fewer than 1000 items.

    Examples:
        >>> round(expected_calibration_error([0.9, 0.9, 0.6], [1, 0, 1], bins=2), 4)
        0.1333
    """
    stated = np.asarray(confidence, dtype=np.float64)
    true = np.asarray(correct, dtype=np.float64)
    if stated.shape != true.shape or stated.size == 0 or bins < 1:
        msg = f"needs equal, non-empty arrays, got {stated.shape} and {true.shape}, {bins} bins"
        raise ValueError(msg)
    if equal_mass:
        parts = np.array_split(np.argsort(stated, kind="stable"), min(bins, stated.size))
    else:
        of = np.clip(np.ceil(stated * bins).astype(int) - 1, 0, bins - 1)
        parts = [np.flatnonzero(of == index) for index in range(bins)]
    gaps = (len(part) * abs(true[part].mean() - stated[part].mean()) for part in parts if len(part))
    return float(sum(gaps) / stated.size)


@dataclass(frozen=True, slots=True)
class PlattScale:
    """From a score to the chance that a mark is a nodule: a line through the logits.

    Platt 1999. The slope is positive, so the order of marks stays.
    """

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        if not (np.isfinite([self.slope, self.intercept]).all() and self.slope > 0):
            msg = f"a calibration needs a positive slope, got {self.slope} and {self.intercept}"
            raise ValueError(msg)

    @classmethod
    def of(cls, calibration: Mapping[str, float]) -> PlattScale | None:
        """Return what a model card's `calibration` says; None when it says nothing of marks.

        Raises:
            ValueError: If the slope is not positive.
        """
        if "slope" not in calibration:
            return None
        return cls(calibration["slope"], calibration.get("intercept", 0.0))

    def apply(self, score: float) -> float:
        """Return the calibrated probability of a score of 0 to 1.

        Examples:
            >>> round(PlattScale(1.0, 0.0).apply(0.25), 6), PlattScale(2.0, 0.0).apply(0.5)
            (0.25, 0.5)
        """
        return float(_sigmoid(self.slope * _logit(np.float64(score)) + self.intercept))


@dataclass(frozen=True, slots=True)
class MarkCalibration:
    """A calibration and what it is worth.

    Attributes:
        ece_before: Calibration error of the scores, in bins of equal count.
        ece: Of calibrated scores of scans that the calibration was not fitted on.
        brier_before: Mean squared error of the scores; `brier` as `ece`.
        marks: How many it was fitted on, `hits` of them on a nodule.
        groups: Scans.
    """

    scale: PlattScale
    ece_before: float
    ece: float
    brier_before: float
    brier: float
    marks: int
    hits: int
    groups: int

    def for_card(self) -> dict[str, float]:
        """Return what a model card holds as its `calibration`."""
        return {"slope": round(self.scale.slope, 6), "intercept": round(self.scale.intercept, 6)}


def calibrate_marks(
    scores: ArrayLike, hits: ArrayLike, groups: Sequence[str], *, folds: int = FOLDS
) -> MarkCalibration:
    """Fit the chance that a mark hits a nodule, and say how well that holds on other scans.

    Args:
        scores: (n,) of a detector, 0 to 1.
        hits: (n,) whether the mark lies on a nodule; leave out marks that count neither way.
        groups: (n,) the scan or patient of each mark: a group is never fitted and judged on.
        folds: Parts of the groups; each is judged by a fit on the others.

    Raises:
        ValueError: If there are too few marks, hits or groups, a score is none, or scores do
            not tell hits from false marks.
    """
    stated, true = np.asarray(scores, np.float64), np.asarray(hits, np.float64)
    names = sorted(set(groups))
    _check_marks(stated, true, groups)
    fold_of = {name: number % folds for number, name in enumerate(names)}
    part = np.array([fold_of[name] for name in groups])
    judged = np.empty_like(stated)
    for fold in range(folds):
        scale = _fit_platt(stated[part != fold], true[part != fold])
        judged[part == fold] = _applied(scale, stated[part == fold])
    bins = max(1, min(15, len(stated) // 10))

    def error(shown: Floats) -> float:
        return expected_calibration_error(shown, true, bins=bins, equal_mass=True)

    return MarkCalibration(
        _fit_platt(stated, true),
        ece_before=error(stated),
        ece=error(judged),
        brier_before=float(np.mean((stated - true) ** 2)),
        brier=float(np.mean((judged - true) ** 2)),
        marks=len(stated),
        hits=int(true.sum()),
        groups=len(names),
    )


def calibrate_scans(scans: Sequence[ScanMatches]) -> MarkCalibration:
    """Return `calibrate_marks` of the marks of a validation set; a scan is a group.

    Raises:
        ValueError: As `calibrate_marks`.
    """
    return calibrate_marks(
        np.concatenate([np.empty(0), *(np.append(scan.hits, scan.false) for scan in scans)]),
        np.concatenate([np.empty(0), *(np.repeat([1.0, 0], _counts(scan)) for scan in scans)]),
        [f"{number}" for number, scan in enumerate(scans) for _ in range(sum(_counts(scan)))],
    )


def _counts(scan: ScanMatches) -> tuple[int, int]:
    return len(scan.hits), len(scan.false)


def _check_marks(scores: Floats, hits: Floats, groups: Sequence[str]) -> None:
    if not scores.shape == hits.shape == (len(groups),):
        msg = f"needs a score, a hit and a group a mark, got {scores.shape}, {hits.shape}"
        raise ValueError(msg + f" and {len(groups)} groups")
    if not ((scores >= 0) & (scores <= 1)).all():
        msg = f"scores must lie in 0 to 1, got {scores[~((scores >= 0) & (scores <= 1))][0]}"
        raise ValueError(msg)
    with_hit = {name for name, hit in zip(groups, hits, strict=True) if hit}
    without = {name for name, hit in zip(groups, hits, strict=True) if not hit}
    if min(len(with_hit), len(without)) < LEAST_GROUPS:
        msg = (
            f"a calibration needs {LEAST_GROUPS} scans with hits and as many with false marks, "
            f"got {len(with_hit)} and {len(without)}"
        )
        raise ValueError(msg)


def _fit_platt(scores: Floats, hits: Floats) -> PlattScale:
    """Fit by Newton's method with Platt's softened targets, so that no figure runs away."""
    x = np.column_stack([_logit(scores), np.ones_like(scores)])
    n_hits = hits.sum()
    target = np.where(hits > 0, (n_hits + 1) / (n_hits + 2), 1 / (len(hits) - n_hits + 2))
    line, loss = np.zeros(2), np.inf
    for _ in range(100):
        shown = _sigmoid(x @ line)
        slope = x.T @ (shown - target)
        curve = (x * (shown * (1 - shown))[:, None]).T @ x + 1e-9 * np.eye(2)
        step = np.linalg.solve(curve, slope)
        share = 1.0
        while share > 1e-6 and _log_loss(x @ (line - share * step), target) > loss:
            share /= 2
        line = line - share * step
        now = _log_loss(x @ line, target)
        if loss - now < 1e-10:
            break
        loss = now
    if not line[0] > 0:
        msg = f"scores do not tell hits from false marks: the fitted slope is {line[0]:.3f}"
        raise ValueError(msg)
    return PlattScale(float(line[0]), float(line[1]))


def _log_loss(logits: Floats, target: Floats) -> float:
    return float(np.sum(np.logaddexp(0, logits) - target * logits))


def _applied(scale: PlattScale, scores: Floats) -> Floats:
    return _sigmoid(scale.slope * _logit(scores) + scale.intercept)


def _logit(score: Floats | np.float64) -> Floats:
    inside = np.clip(score, SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def _sigmoid(logit: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logit)))
