"""How far stated probabilities are from the share that turns out true."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


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
