"""All that speaks against labels: how many are wrong, and an order in which to look at them.

Three witnesses that fail in different ways: the margin of classifiers that did not see the
image, the posterior of a mixture of their losses, and what the nearest images are called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from medvit.learn.noise.confident import NoiseEstimate, estimate_noise
from medvit.learn.noise.cross_validation import Flags, deal_groups, out_of_sample, scaled
from medvit.learn.noise.loss_mixture import clean_probabilities
from medvit.learn.noise.neighbours import Neighbours, find_neighbours

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

WIDEST_GAP = 0.10
"""Noise rates of confident learning and of the mixture that differ by more are told of."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What is found out about labels.

    Attributes:
        estimate: How many labels are wrong, and which way.
        mixture_rate: The same by a mixture of losses; None where they have one bump.
        probabilities: (n, k) of classifiers that did not see the image.
        is_judged: (n,) False where fewer than two images of other folds have its label.
        neighbours: Of each image.
        order: (n,) images, the most suspicious first.
        chances: (n,) of each image to be labelled wrongly; never rising along `order`.
    """

    estimate: NoiseEstimate
    mixture_rate: float | None
    probabilities: Floats
    is_judged: Flags
    neighbours: Neighbours
    order: Indices
    chances: Floats

    @property
    def rates_differ(self) -> bool:
        """Whether the two estimates of the noise rate contradict each other."""
        other = self.mixture_rate
        return other is not None and abs(other - self.estimate.noise_rate) > WIDEST_GAP

    def support(self, labels: Indices, label: int) -> tuple[float, float]:
        """Return the shares of a label's images that classifiers and neighbours call so."""
        own = labels == label
        by_class = self.probabilities[own].argmax(axis=1) == label
        by_votes = self.neighbours.votes[own].argmax(axis=1) == label
        return float(by_class.mean()), float(by_votes.mean())

    def suggested(self, labels: Indices) -> Indices:
        """Return the likeliest other class (n,) by classifiers and neighbours together."""
        scores = self.probabilities + self.neighbours.votes
        scores[np.arange(len(labels)), labels] = -1
        found: Indices = scores.argmax(axis=1)
        return found


def weigh_labels(features: Sequence[Floats], labels: Indices, *, groups: Sequence[str]) -> Evidence:
    """Weigh the labels of images by their features.

    Args:
        features: One or more kinds (n, d), such as texture and a network's; each kind weighs
            alike among neighbours, however many columns it has.
        labels: (n,) class indices; every class up to the largest has an image.
        groups: (n,) names; images of one group never judge each other.

    Raises:
        ValueError: If there is one class or one group only, or a class has no label.
    """
    if int(labels.max(initial=0)) < 1:
        msg = "labels are weighed against those of other classes, got a single class"
        raise ValueError(msg)
    kinds = [scaled(each) for each in features]
    near = np.hstack([each / np.sqrt(each.shape[1]) for each in kinds])
    numbers = np.unique(np.array(groups), return_inverse=True)[1]
    seen = out_of_sample(np.hstack(kinds), labels, folds=deal_groups(groups, labels))
    neighbours = find_neighbours(near, labels, groups=numbers)
    estimate = estimate_noise(seen.probabilities, labels, groups=numbers)
    places = np.arange(len(labels))
    own = seen.probabilities[places, labels]
    clean = clean_probabilities(-np.log(own))
    others = seen.probabilities.copy()
    others[places, labels] = -1
    witnesses = [1 - own, 1 - neighbours.votes[places, labels]]
    ranked = [others.max(axis=1) - own, witnesses[1]]
    if clean is not None:
        witnesses.append(1 - clean)
        ranked.append(1 - clean)
    order = _order(ranked, seen.is_judged)
    chances = _falling(np.mean(witnesses, axis=0) * seen.is_judged, order)
    mixture_rate = None if clean is None else float((1 - clean).mean())
    return Evidence(
        estimate, mixture_rate, seen.probabilities, seen.is_judged, neighbours, order, chances
    )


def _order(witnesses: Sequence[Floats], is_judged: Flags) -> Indices:
    """Return images by their mean rank, the most suspicious first, those not judged last."""
    ranks = np.mean([rankdata(each) for each in witnesses], axis=0)
    found: Indices = np.lexsort((-ranks, ~is_judged))
    return found


def _falling(chances: Floats, order: Indices) -> Floats:
    """Return the chances (n,) that fit best among those that never rise along an order."""
    from sklearn.isotonic import isotonic_regression  # noqa: PLC0415 - slow to import

    found = np.empty_like(chances)
    found[order] = isotonic_regression(chances[order], increasing=False)
    return found
