"""Labels and class sizes spoilt on purpose, the same way for the same seed: for benchmarks."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]
Floats = NDArray[np.float64]


def flip_symmetric(labels: Indices, *, classes: int, share: float, seed: int) -> Indices:
    """Return labels of which a share became another class, each other class alike.

    Args:
        labels: (n,) class indices.
        share: Chance of a label to become a wrong one, in [0, 1).

    Raises:
        ValueError: If there are fewer than two classes, or the share is out of range.
    """
    _check(classes, share)
    rng = np.random.default_rng(seed)
    is_flipped = rng.random(len(labels)) < share
    away = rng.integers(1, classes, size=len(labels))
    return np.where(is_flipped, (labels + away) % classes, labels)


def flip_pairs(labels: Indices, *, classes: int, share: float, seed: int) -> Indices:
    """Return labels of which a share became the next class, the last one the first."""
    _check(classes, share)
    is_flipped = np.random.default_rng(seed).random(len(labels)) < share
    return np.where(is_flipped, (labels + 1) % classes, labels)


def flip_by_instance(
    labels: Indices, features: Floats, *, classes: int, share: float, seed: int
) -> Indices:
    """Return labels that are wrong more often where an image looks like another class.

    Xia 2020, arXiv 2006.07836: each image has its own chance, drawn around `share` and cut
    to 0..1; which class it becomes follows from its features by random weights.

    Args:
        features: (n, d).
    """
    _check(classes, share)
    rng = np.random.default_rng(seed)
    chances = np.clip(rng.normal(share, 0.1, size=len(labels)), 0, 1)
    weights = rng.standard_normal((classes, features.shape[1], classes))
    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    scores = np.einsum("nd,ndk->nk", scaled, weights[labels]) / np.sqrt(features.shape[1])
    scores[np.arange(len(labels)), labels] = -np.inf
    drawn = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)
    return np.where(rng.random(len(labels)) < chances, drawn, labels)


def long_tail_counts(largest: int, *, classes: int, ratio: float) -> list[int]:
    """Return images a class that fall exponentially, the last one `largest / ratio`.

    Cui 2019, arXiv 1901.05555.

    Examples:
        >>> long_tail_counts(100, classes=3, ratio=100)
        [100, 10, 1]
    """
    if classes < 2 or ratio < 1 or largest < ratio:
        msg = (
            f"a tail needs 2 classes and 1 <= ratio <= largest, got {classes=} {ratio=} {largest=}"
        )
        raise ValueError(msg)
    return [int(largest * ratio ** (-place / (classes - 1))) for place in range(classes)]


def long_tail(
    names: list[str], labels: Indices, *, classes: int, ratio: float, salt: str = "medvit"
) -> Indices:
    """Return the places of the images that stay so that class sizes fall exponentially.

    Images are kept in the order of SHA-256 of salt and name, so a smaller ratio keeps all
    that a larger one keeps.

    Raises:
        ValueError: If a class has too few images for its place in the tail.
    """
    counts = np.bincount(labels, minlength=classes)
    wanted = long_tail_counts(int(counts[0]), classes=classes, ratio=ratio)
    kept: list[int] = []
    for label, count in enumerate(wanted):
        if counts[label] < count:
            msg = f"class {label} needs {count} images for a tail of {ratio:g}, got {counts[label]}"
            raise ValueError(msg)
        own = np.flatnonzero(labels == label).tolist()
        own.sort(key=lambda place: hashlib.sha256(f"{salt}\0{names[place]}".encode()).digest())
        kept += own[:count]
    return np.array(sorted(kept), dtype=np.intp)


def _check(classes: int, share: float) -> None:
    if classes < 2 or not 0 <= share < 1:
        msg = f"wrong labels need 2 classes and a share in [0, 1), got {classes} and {share}"
        raise ValueError(msg)
