"""How far two images agree where they overlap, measured at full resolution."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from medvit.data.duplicates.shifts import HIGH_PASS_SHARE

Grey = NDArray[np.generic]

FLAT_STD = 0.5
"""Grey levels; a piece that varies less shows nothing to compare."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Where the second image lies in the first, and how alike both are there.

    Attributes:
        shift: Rows and columns of the first image at which the second one begins.
        share: Overlap as a share of the smaller image.
        correlation: Of the high-pass pieces, -1 to 1; exposure does not change it.
    """

    shift: tuple[int, int]
    share: float
    correlation: float


def overlapping(first: Grey, second: Grey, shift: tuple[int, int]) -> tuple[Grey, Grey]:
    """Return the parts of two images that lie on each other.

    Examples:
        >>> a = np.arange(9).reshape(3, 3)
        >>> overlapping(a, a[1:, 1:], (1, 1))[0].tolist()
        [[4, 5], [7, 8]]
    """
    rows, columns = (
        (max(at, 0), min(length, at + other))
        for at, length, other in zip(shift, first.shape, second.shape, strict=True)
    )
    return (
        first[slice(*rows), slice(*columns)],
        second[
            slice(rows[0] - shift[0], max(rows[1] - shift[0], 0)),
            slice(columns[0] - shift[1], max(columns[1] - shift[1], 0)),
        ],
    )


def refine(first: Grey, second: Grey, shift: tuple[int, int], *, reach: int) -> Overlap:
    """Return the best overlap near a shift: every other pixel first, then every pixel."""
    around = range(-reach, reach + 1, 2)
    start = _best(first, second, ((shift[0] + y, shift[1] + x) for y in around for x in around), 2)
    near = ((start[0] + y, start[1] + x) for y in (-1, 0, 1) for x in (-1, 0, 1))
    best = _best(first, second, near, 1)
    one, two = overlapping(first, second, best)
    share = one.size / min(first.size, second.size)
    sigma = HIGH_PASS_SHARE * max(*first.shape, *second.shape)
    return Overlap(best, share, high_pass_correlation(one, two, sigma=sigma))


def high_pass_correlation(one: Grey, two: Grey, *, sigma: float) -> float:
    """Return the correlation of two pieces without their slow changes of brightness.

    Both are cut out first and filtered then: what lies beside the overlap differs between
    the two images and must not reach into it.
    """
    if min(one.shape) < 2:
        return 0.0
    sharp = []
    for piece in (one, two):
        values = piece.astype(np.float32)
        values -= gaussian_filter(values, sigma, truncate=3)
        sharp.append(values)
    return correlation(*sharp)


def correlation(one: Grey, two: Grey) -> float:
    """Return the correlation of two arrays, 0 where one of them is flat.

    Examples:
        >>> a = np.array([[0.0, 4.0], [8.0, 20.0]])
        >>> round(correlation(a, 2 * a + 7), 6), correlation(a, 0 * a)
        (1.0, 0.0)
    """
    if one.size < 2:
        return 0.0
    a, b = (piece.astype(np.float32) - piece.mean(dtype=np.float32) for piece in (one, two))
    energy = float((a * a).sum()), float((b * b).sum())
    if min(energy) <= FLAT_STD**2 * one.size:
        return 0.0
    return float((a * b).sum() / np.sqrt(energy[0] * energy[1]))


def _best(
    first: Grey, second: Grey, shifts: Iterable[tuple[int, int]], every: int
) -> tuple[int, int]:
    scored = []
    for shift in shifts:
        one, two = overlapping(first, second, shift)
        scored.append((correlation(one[::every, ::every], two[::every, ::every]), shift))
    return max(scored)[1]
