"""The fingerprint of a labelled data set: what a plan is made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median

import numpy as np
from numpy.typing import NDArray

from medvit.data.duplicates.surfaces import Surface
from medvit.data.manifest import ManifestRow

ORIENTATIONS = 8
NEIGHBOURS = 10
FOLDS = 5
LEAST_FOR_NOISE = 30
"""Labelled images below which no noise rate can be told from chance."""


@dataclass(frozen=True, slots=True)
class NoiseEstimate:
    """How many labels the neighbours of their images contradict.

    Attributes:
        rate: Share of labels that most neighbours of other groups contradict: an upper
            bound of the noise, since classes that look alike are contradicted too.
        low: Lower end of the 95 % interval over groups.
        high: Upper end.
    """

    rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is known of a data set without training.

    Attributes:
        images: Rows of the manifest, readable or not.
        counts: Images a class, of all sides.
        train_counts: Images a class on side train.
        median_px: Longer side.
        largest: Path, height and width of the largest image.
        imbalance: Images of the largest class over those of the smallest, in train.
        noise: None where there are too few labels.
    """

    images: int
    unreadable: int
    unlabelled: int
    counts: Mapping[str, int]
    train_counts: Mapping[str, int]
    median_px: int
    smallest_px: int
    largest: tuple[str, int, int]
    grey: int
    colour: int
    groups: int
    duplicates: int
    imbalance: float
    noise: NoiseEstimate | None


def fingerprint(
    rows: Sequence[ManifestRow], surfaces: Sequence[Surface], *, duplicates: int
) -> Fingerprint:
    """Return the fingerprint of a manifest whose readable images are `surfaces`.

    Raises:
        ValueError: If there is no readable image.
    """
    if not surfaces:
        msg = f"a fingerprint needs a readable image, got 0 of {len(rows)}"
        raise ValueError(msg)
    train = Counter(row.label for row in rows if row.label and row.split == "train")
    largest = max(surfaces, key=lambda each: each.shape[0] * each.shape[1])
    colour = sum(surface.is_colour for surface in surfaces)
    return Fingerprint(
        images=len(rows),
        unreadable=len(rows) - len(surfaces),
        unlabelled=sum(1 for row in rows if not row.label),
        counts=dict(sorted(Counter(row.label for row in rows if row.label).items())),
        train_counts=dict(sorted(train.items())),
        median_px=int(median(max(surface.shape) for surface in surfaces)),
        smallest_px=min(min(surface.shape) for surface in surfaces),
        largest=(largest.path, *largest.shape),
        grey=len(surfaces) - colour,
        colour=colour,
        groups=len({row.group or row.path for row in rows}),
        duplicates=duplicates,
        imbalance=max(train.values()) / min(train.values()) if train else 1.0,
        noise=estimate_noise(rows, surfaces),
    )


def estimate_noise(
    rows: Sequence[ManifestRow], surfaces: Sequence[Surface]
) -> NoiseEstimate | None:
    """Return how many labels their nearest neighbours of other groups contradict.

    Features are simple (see `simple_features`); each image is judged by the `NEIGHBOURS`
    nearest of the other folds, whole groups to a fold. The interval is Wilson's, counted
    over groups, for the images of one group are no independent evidence.
    """
    row_of = {row.path: row for row in rows if row.label}
    known = [surface for surface in surfaces if surface.path in row_of]
    labels = np.array([row_of[surface.path].label for surface in known])
    if len(known) < LEAST_FOR_NOISE or len(set(labels)) < 2:
        return None
    groups = [row_of[each.path].group or each.path for each in known]
    order = {name: number for number, name in enumerate(sorted(set(groups)))}
    folds = np.array([order[name] % FOLDS for name in groups])
    features = np.stack([simple_features(surface.grey) for surface in known])
    features = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    wrong = np.zeros(len(known), bool)
    for fold in range(FOLDS):
        inside, outside = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        for index in inside:
            distance = ((features[outside] - features[index]) ** 2).sum(axis=1)
            nearest = labels[outside[np.argsort(distance, kind="stable")[:NEIGHBOURS]]]
            winner = Counter(nearest.tolist()).most_common(1)[0][0]
            wrong[index] = winner != labels[index]
    rate = float(wrong.mean())
    low, high = wilson(rate, len(order))
    return NoiseEstimate(rate, low, high)


def simple_features(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return grey and gradient histograms, shape (32 + 8 + 2,): no network, no training."""
    values = grey.astype(np.float32)
    down, right = np.gradient(values) if min(grey.shape) > 1 else (values * 0, values * 0)
    size = np.hypot(down, right)
    angle = np.arctan2(down, right) % np.pi
    turned, _ = np.histogram(angle, ORIENTATIONS, (0, np.pi), weights=size)
    levels, _ = np.histogram(np.log2(1 + size), 16, (0, 8))
    tones, _ = np.histogram(values, 16, (0, 256))
    parts = (tones / grey.size, levels / grey.size, turned / (size.sum() + 1e-6))
    moments = np.array([values.mean() / 255, values.std() / 255])
    return np.concatenate([*parts, moments]).astype(np.float32)


def wilson(rate: float, count: int, *, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's interval of a share (J. Am. Stat. Assoc. 22, 1927).

    Examples:
        >>> tuple(round(end, 3) for end in wilson(0.5, 10))
        (0.237, 0.763)
    """
    centre = rate + z * z / (2 * count)
    spread = z * sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
