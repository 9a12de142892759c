"""Do the cases of a run still look like those a model was calibrated on?

Two looks at features: Kolmogorov-Smirnov on each principal component, with Holm's correction
(Rabanser 2019, arXiv 1810.11953), and the maximum mean discrepancy of the whole cloud by a
permutation test (Gretton 2012, JMLR 13). One run alone proves little, so an alarm needs several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL = 0.05
MOST_COMPONENTS = 20
LEAST_CASES = 20
"""With fewer a test finds only what everybody sees."""

MOST_CASES = 200
"""Of each side in the permutation test; its cost grows with their square."""

PERMUTATIONS = 500
ALARM_RUNS = 2
OF_LAST_RUNS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """How a window of cases differs from the reference.

    Attributes:
        p_values: Of each stream: `components` (the least by Holm) and `cloud`.
        shifted: Streams that differ, Benjamini-Hochberg at 5 %.
        effect_sd: Largest difference of means along a component, in standard deviations.
        unlikeness: (m,), how far each case lies from the middle of the reference along the
            difference of the means, in standard deviations.
    """

    p_values: Mapping[str, float]
    shifted: tuple[str, ...]
    effect_sd: float
    unlikeness: Floats


def measure_drift(reference: Floats, window: Floats, *, rng: np.random.Generator) -> Drift:
    """Compare features of a window of cases with those of a reference.

    A row is a scan or a part: tiles or repeated images of one must be averaged before.

    Args:
        reference: (n, d).
        window: (m, d).
        rng: Draws permutations, and cases where there are more than 200.

    Raises:
        ValueError: If either side has fewer than 20 cases, or a feature is not finite.
    """
    from scipy.stats import ks_2samp  # noqa: PLC0415 - slow to import

    for name, side in (("reference", reference), ("window", window)):
        if len(side) < LEAST_CASES or not np.isfinite(side).all():
            msg = f"drift needs {LEAST_CASES} finite cases a side, {name} has {len(side)}"
            raise ValueError(msg)
    known, new = _components(reference, window)
    each = [ks_2samp(a, b, method="asymp").pvalue for a, b in zip(known.T, new.T, strict=True)]
    p_values = {
        "components": min(1.0, float(min(each)) * len(each)),  # Holm's first step
        "cloud": cloud_p_value(known, new, rng=rng),
    }
    apart = new.mean(axis=0) - known.mean(axis=0)  # in sd of the reference
    length = float(np.linalg.norm(apart))
    way = apart / length if length else apart
    return Drift(p_values, rejected(p_values), float(np.abs(apart).max()), new @ way)


def cloud_p_value(reference: Floats, window: Floats, *, rng: np.random.Generator) -> float:
    """Return the p-value of an unbiased MMD with a Gaussian kernel, `(1 + #>=) / (1 + B)`.

    The bandwidth is the median distance within the reference.
    """
    a, b = _some(reference, rng), _some(window, rng)
    both = np.concatenate([a, b])
    squares = np.maximum(_squares(both), 0.0)
    within = squares[: len(a), : len(a)][np.triu_indices(len(a), 1)]
    kernel = np.exp(-squares / max(float(np.median(within)), 1e-12))
    np.fill_diagonal(kernel, 0.0)
    sides = np.zeros((len(both), PERMUTATIONS + 1))
    sides[: len(a), 0] = 1
    for column in range(1, PERMUTATIONS + 1):
        sides[rng.permutation(len(both))[: len(a)], column] = 1
    found = _mmd(kernel, sides)
    return float((1 + (found[1:] >= found[0] - 1e-12).sum()) / (1 + PERMUTATIONS))


def rejected(p_values: Mapping[str, float], *, level: float = LEVEL) -> tuple[str, ...]:
    """Return the names that differ by Benjamini and Hochberg (1995), the surest first.

    Examples:
        >>> rejected({"a": 0.04, "b": 0.03, "c": 0.5})
        ()
        >>> rejected({"a": 0.03, "b": 0.001})
        ('b', 'a')
    """
    ordered = sorted(p_values, key=lambda name: p_values[name])
    bounds = [level * rank / len(ordered) for rank in range(1, len(ordered) + 1)]
    kept = [
        rank
        for rank, (name, bound) in enumerate(zip(ordered, bounds, strict=True), start=1)
        if p_values[name] <= bound
    ]
    return tuple(ordered[: max(kept, default=0)])


def is_alarm(shifted: Sequence[bool]) -> bool:
    """Whether at least 2 of the last 3 runs differ; the newest comes last and must differ.

    Examples:
        >>> is_alarm([True, False, True]), is_alarm([True, False, False, True])
        (True, False)
    """
    last = shifted[-OF_LAST_RUNS:]
    return bool(last) and last[-1] and sum(last) >= ALARM_RUNS


def _components(reference: Floats, window: Floats) -> tuple[Floats, Floats]:
    """Return both sides on the principal components of the reference, each of sd 1 there."""
    middle = reference.mean(axis=0)
    count = min(MOST_COMPONENTS, reference.shape[1], len(reference) - 1)
    _, sizes, ways = np.linalg.svd(reference - middle, full_matrices=False)
    kept = max(1, int((sizes[:count] > 1e-9 * max(float(sizes[0]), 1e-300)).sum()))
    scale = np.maximum(sizes[:kept], 1e-300) / np.sqrt(len(reference) - 1)
    project = ways[:kept].T / scale
    return (reference - middle) @ project, (window - middle) @ project


def _some(side: Floats, rng: np.random.Generator) -> Floats:
    if len(side) <= MOST_CASES:
        return side
    return side[rng.choice(len(side), MOST_CASES, replace=False)]


def _squares(x: Floats) -> Floats:
    lengths = (x**2).sum(axis=1)
    found: Floats = lengths[:, None] + lengths - 2 * x @ x.T
    return found


def _mmd(kernel: Floats, sides: Floats) -> Floats:
    """Return the unbiased estimate for each column, which says who is of the reference."""
    n = sides[:, 0].sum()
    m = len(sides) - n
    rows = kernel @ sides
    known = (sides * rows).sum(axis=0)
    mixed = ((1 - sides) * rows).sum(axis=0)
    new = kernel.sum() - known - 2 * mixed
    found: Floats = known / (n * (n - 1)) + new / (m * (m - 1)) - 2 * mixed / (n * m)
    return found
