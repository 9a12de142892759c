"""Where to cut: thresholds by false marks a scan, or by a promised miss rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np

from medvit.errors import ConfigError
from medvit.metrics.froc_matching import ScanMatches

FP_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
MISS_RATES = (0.01, 0.02, 0.05, 0.1, 0.2)
BY_FP, BY_MISS = "fp_per_scan_", "miss_rate_"


def scans_needed(miss_rate: float) -> int:
    """Return how many scans with nodules a promise needs, even when none is missed.

    Examples:
        >>> scans_needed(0.018), scans_needed(0.05)
        (55, 19)
    """
    if not 0 < miss_rate < 1:
        msg = f"a miss rate must lie between 0 and 1, got {miss_rate}"
        raise ConfigError(msg, hint="0.05 misses one nodule of twenty")
    return ceil(1 / miss_rate - 1 - 1e-9)


def threshold_at_fp(scans: Sequence[ScanMatches], fp_per_scan: float) -> float:
    """Return the lowest threshold that keeps false marks to a rate a scan; marks at it count.

    Raises:
        ConfigError: If the rate is not positive.

    Examples:
        >>> one = ScanMatches(np.array([]), np.array([0.2, 0.9, 0.4]), 0, 0, 0, 3)
        >>> round(threshold_at_fp([one], 1), 6)
        0.4
        >>> threshold_at_fp([one], 1) > 0.4
        True
    """
    if not fp_per_scan > 0:
        msg = f"a rate of false marks must be positive, got {fp_per_scan}"
        raise ConfigError(msg, hint="1 is one false mark a scan")
    scores = np.sort(np.concatenate([np.empty(0), *(scan.false for scan in scans)]))[::-1]
    allowed = int(fp_per_scan * len(scans) + 1e-9)
    return float(np.nextafter(scores[allowed], np.inf)) if allowed < len(scores) else 0.0


def threshold_at_miss_rate(scans: Sequence[ScanMatches], miss_rate: float) -> float:
    """Return the highest threshold that promises a miss rate in expectation.

    Conformal risk control (Angelopoulos 2022, arXiv 2208.02814): the loss of a scan is the
    share of its nodules that is missed, scans without nodules do not count, and the highest
    threshold with `n / (n + 1) * mean loss + 1 / (n + 1) <= miss_rate` is taken. The promise
    holds for scans drawn as these were, and for those alone.

    Raises:
        ConfigError: If the scans are too few, with how many more it takes, or the detector
            misses too much at any threshold.
    """
    with_nodules = [scan for scan in scans if scan.nodules]
    n, needed = len(with_nodules), scans_needed(miss_rate)
    if n < needed:
        msg = (
            f"a miss rate of {miss_rate:g} needs {needed} scans with nodules, even when none is "
            f"missed, got {n}"
        )
        raise ConfigError(msg, hint=f"add {needed - n} scans, or ask for {1 / (n + 1):.3g} or more")
    scores = np.concatenate([np.empty(0), *(scan.hits for scan in with_nodules)])
    shares = np.repeat(
        [1 / scan.nodules for scan in with_nodules], [len(s.hits) for s in with_nodules]
    )
    order = np.argsort(-scores, kind="stable")
    losses = n - np.cumsum(shares[order])  # summed over scans, when all up to this one are marked
    kept = np.flatnonzero((losses + 1) / (n + 1) <= miss_rate + 1e-12)
    if kept.size:
        return float(scores[order[kept[0]]])
    least = float(losses[-1]) / n if losses.size else 1.0
    msg = (
        f"the detector misses {least:.3g} of the nodules of a scan at any threshold, so no "
        f"threshold promises a miss rate of {miss_rate:g} on {n} scans"
    )
    raise ConfigError(msg, hint=f"ask for {(n * least + 1) / (n + 1):.3g} or more, or train on")


def operating_thresholds(scans: Sequence[ScanMatches]) -> dict[str, float]:
    """Return for a model card the thresholds of all rates that the scans can stand for."""
    thresholds = {f"{BY_FP}{rate:g}": threshold_at_fp(scans, rate) for rate in FP_RATES}
    for rate in MISS_RATES:
        try:
            thresholds[f"{BY_MISS}{rate:g}"] = threshold_at_miss_rate(scans, rate)
        except ConfigError:
            continue  # too few scans, or too many misses: a rate that is not promised
    return thresholds


def chosen_threshold(
    thresholds: Mapping[str, float], *, fp_per_scan: float | None, miss_rate: float | None
) -> float:
    """Return a stored threshold: of the rate asked for, or of the nearest stricter one.

    Args:
        thresholds: Of a model card.
        fp_per_scan: False marks a scan; or
        miss_rate: Share of nodules that may be missed.

    Raises:
        ConfigError: If both are asked for or none, or no rate as strict is stored.
    """
    if (fp_per_scan is None) == (miss_rate is None):
        msg = f"one operating point at a time, got {fp_per_scan=} and {miss_rate=}"
        raise ConfigError(msg, hint="give --fp-per-scan or --miss-rate")
    kind, asked = (BY_FP, fp_per_scan) if miss_rate is None else (BY_MISS, miss_rate)
    rates = [(float(n.removeprefix(kind)), t) for n, t in thresholds.items() if n.startswith(kind)]
    strict = [each for each in rates if asked is not None and each[0] <= asked + 1e-12]
    if strict:
        return max(strict)[1]
    offered = ", ".join(f"{rate:g}" for rate, _ in sorted(rates)) or "none"
    name = kind.rstrip("_").replace("_", "-")
    msg = f"the model has no threshold for --{name} {asked:g}; it has: {offered}"
    hint = "leave the option out for the model's own threshold"
    if kind == BY_MISS and miss_rate is not None:
        hint = f"{scans_needed(miss_rate)} validation scans with nodules are needed; or {hint}"
    raise ConfigError(msg, hint=hint)
