"""Confident learning: how many labels are wrong, which way, and which ones.

Northcutt 2019, arXiv 1911.00068. It asks for probabilities of images that the
network was not trained on; folds must keep groups together, or copies answer for
each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

ROUNDS = 200


@dataclass(frozen=True, slots=True, eq=False)
class NoiseEstimate:
    """What the probabilities say of the labels.

    Attributes:
        joint: (k, k), share of images labelled i that are j; sums to 1.
        noise_rate: Share of wrong labels, `1 - trace(joint)`.
        interval: 95 % bootstrap interval of it over groups.
        transition: (k, k), chance that an image of class j is labelled i is
            `transition[j, i]`; rows sum to 1.
    """

    joint: Floats
    noise_rate: float
    interval: tuple[float, float]
    transition: Floats


@dataclass(frozen=True, slots=True)
class Suspect:
    """A label that is likely wrong.

    Attributes:
        index: Of the image.
        label: What it is called.
        suggested: What it likely is.
        confidence: Probability of `suggested` minus that of `label`, 0 to 1.
    """

    index: int
    label: int
    suggested: int
    confidence: float


def estimate_noise(
    probabilities: Floats,
    labels: Indices,
    *,
    groups: Indices | None = None,
    rng: np.random.Generator | None = None,
) -> NoiseEstimate:
    """Estimate how labels and classes go together.

    An image counts as class j when its probability of j reaches the mean probability of j
    among the images labelled j, and as the likeliest of those classes where several do.

    Args:
        probabilities: (n, k), out of sample.
        labels: (n,) class indices as given.
        groups: (n,) images of one group are drawn together for the interval.
        rng: Source of the draws; seeded with 0 by default.

    Raises:
        ValueError: If the shapes do not fit, a class has no label, or a number is no
            probability.
    """
    _check(probabilities, labels)
    counted = _counted_as(probabilities, labels)
    classes = probabilities.shape[1]
    joint = _joint(labels, counted, classes)
    members = _members(np.arange(len(labels)) if groups is None else groups)
    rng = rng or np.random.default_rng(0)
    rates = []
    for _ in range(ROUNDS):
        drawn = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        rates.append(1 - float(np.trace(_joint(labels[drawn], counted[drawn], classes))))
    low, high = np.quantile(rates, [0.025, 0.975])
    shares = joint.sum(axis=0)
    transition = np.where(shares > 0, joint / np.where(shares > 0, shares, 1), np.eye(classes)).T
    return NoiseEstimate(joint, 1 - float(np.trace(joint)), (float(low), float(high)), transition)


def find_suspects(probabilities: Floats, labels: Indices, estimate: NoiseEstimate) -> list[Suspect]:
    """Return the labels that are likely wrong, most suspicious first.

    Of the images labelled i, as many are taken for j as the joint says, those first whose
    probability of j is furthest above that of i; no class loses its last image. Equal ones
    go by index, so the order of the images does not matter otherwise.

    Raises:
        ValueError: As `estimate_noise`.
    """
    _check(probabilities, labels)
    margins = probabilities - probabilities[np.arange(len(labels)), labels][:, None]
    found: dict[int, Suspect] = {}
    left = np.bincount(labels, minlength=probabilities.shape[1])
    cells = [
        (round(len(labels) * estimate.joint[i, j]), i, j)
        for i in range(len(left))
        for j in range(len(left))
        if i != j
    ]
    for count, i, j in sorted(cells, reverse=True):
        own = np.flatnonzero((labels == i) & (margins[:, j] > 0))
        for index in own[np.argsort(-margins[own, j], kind="stable")][:count].tolist():
            suspect = Suspect(index, i, j, float(margins[index, j]))
            if index in found:
                found[index] = max(found[index], suspect, key=lambda each: each.confidence)
            elif left[i] > 1:
                left[i] -= 1
                found[index] = suspect
    return sorted(found.values(), key=lambda each: (-each.confidence, each.index))


def _check(probabilities: Floats, labels: Indices) -> None:
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        msg = (
            "probabilities (n, k) and labels (n,) are needed, "
            f"got {probabilities.shape} and {labels.shape}"
        )
        raise ValueError(msg)
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    if len(counts) != probabilities.shape[1] or (counts == 0).any():
        msg = f"every one of {probabilities.shape[1]} classes needs a label, got {counts.tolist()}"
        raise ValueError(msg)
    if not (np.isfinite(probabilities).all() and (probabilities >= 0).all()):
        msg = f"probabilities must be finite and not negative, got {probabilities.min()}"
        raise ValueError(msg)


def _counted_as(probabilities: Floats, labels: Indices) -> Indices:
    """Return the class each image is counted as, -1 where it reaches none."""
    classes = probabilities.shape[1]
    least = np.array([probabilities[labels == j, j].mean() for j in range(classes)])
    reached = np.where(probabilities >= least, probabilities, -1.0)
    counted: Indices = np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), -1)
    return counted


def _joint(labels: Indices, counted: Indices, classes: int) -> Floats:
    """Return the counts, each row scaled to the number of labels, as shares of all."""
    counts = np.zeros((classes, classes))
    is_counted = counted >= 0
    np.add.at(counts, (labels[is_counted], counted[is_counted]), 1)
    totals = np.bincount(labels, minlength=classes)
    sums = counts.sum(axis=1)
    # A class whose images reach no threshold says nothing against its labels.
    counts[sums == 0, sums == 0] = 1
    rows = counts / counts.sum(axis=1, keepdims=True) * totals[:, None]
    joint: Floats = rows / rows.sum()
    return joint


def _members(groups: Indices) -> list[Indices]:
    order = np.argsort(groups, kind="stable")
    borders = np.flatnonzero(np.diff(groups[order])) + 1
    return np.split(order, borders)
