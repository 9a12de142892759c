"""All that is measured of a nodule detector at once, with intervals that can be drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medvit.metrics.froc import (
    FP_PER_SCAN,
    FrocBand,
    FrocResult,
    ScanMatches,
    SizeFroc,
    bootstrap_froc,
    froc_by_diameter,
    froc_of,
    sensitivity_at,
    thresholds_at,
)

STEPS_AN_OCTAVE = 8
GRID = tuple(2.0 ** (step / STEPS_AN_OCTAVE - 3) for step in range(6 * STEPS_AN_OCTAVE + 1))
"""Rates of the plot, 1/8 to 8 false positives a scan; the seven of LUNA16 are among them."""


@dataclass(frozen=True, slots=True)
class FrocFigures:
    """All that is measured of a detector.

    Attributes:
        scans: What the marks of each scan are.
        result: The official figures.
        curve: Sensitivity at the rates of `GRID`.
        band: 95 % bootstrap intervals at the rates of `GRID`.
        thresholds: Lowest score that keeps to each of the seven rates.
        sizes: Figures of the nodules of each size.
        rounds: Draws of the bootstrap.
        seed: Seed of the draws.
    """

    scans: Sequence[ScanMatches]
    result: FrocResult
    curve: tuple[float, ...]
    band: FrocBand
    thresholds: Sequence[float | None]
    sizes: Sequence[SizeFroc]
    rounds: int
    seed: int

    @property
    def intervals(self) -> tuple[tuple[float, float], ...]:
        """The intervals at the seven rates."""
        return tuple(self.band.sensitivity[GRID.index(rate)] for rate in FP_PER_SCAN)


def measure_froc(scans: Sequence[ScanMatches], *, rounds: int, seed: int) -> FrocFigures:
    """Return figures with bands; the same scans, rounds and seed give the same figures.

    Raises:
        ValueError: If the scans hold no nodule.
    """
    return FrocFigures(
        scans=scans,
        result=froc_of(scans),
        curve=tuple(sensitivity_at(scans, GRID).tolist()),
        band=bootstrap_froc(scans, rng=np.random.default_rng(seed), rounds=rounds, rates=GRID),
        thresholds=thresholds_at(scans, FP_PER_SCAN),
        sizes=froc_by_diameter(scans, rng=np.random.default_rng(seed), rounds=rounds),
        rounds=rounds,
        seed=seed,
    )
