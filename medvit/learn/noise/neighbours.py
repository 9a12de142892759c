"""What the nearest images of other groups are called."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

NEIGHBOURS = 15
ROWS_AT_ONCE = 512
"""Rows of distances held at a time, so that memory grows with n and not with its square."""


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The nearest images of each image, nearest first.

    Attributes:
        places: (n, m) indices.
        votes: (n, k) share of each label among them, nearer ones counting more.
    """

    places: Indices
    votes: Floats


def find_neighbours(
    features: Floats, labels: Indices, *, groups: Indices, count: int = NEIGHBOURS
) -> Neighbours:
    """Return for each image the nearest ones of other groups.

    A vote counts `1 / (1 + rank)^(1/2)`: the first neighbour twice as much as the fourth.

    Args:
        features: (n, d); the distance is Euclid's.
        labels: (n,) class indices.
        groups: (n,) numbers of groups; images of the own group have no vote.
        count: How many, at most as many as lie outside of the largest group.

    Raises:
        ValueError: If one group holds all images.
    """
    most = len(labels) - int(np.bincount(groups).max())
    if most < 1:
        msg = f"neighbours of other groups are needed, but all {len(labels)} images are one group"
        raise ValueError(msg)
    count = min(count, most)
    squares = (features**2).sum(axis=1)
    places = np.empty((len(labels), count), dtype=np.intp)
    for start in range(0, len(labels), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        distance = squares[rows, None] + squares - 2 * features[rows] @ features.T
        distance[groups[rows, None] == groups] = np.inf
        places[rows] = np.argsort(distance, axis=1, kind="stable")[:, :count]
    weights = 1 / np.sqrt(1 + np.arange(count))
    votes = np.zeros((len(labels), int(labels.max()) + 1))
    for column, weight in enumerate(weights / weights.sum()):
        votes[np.arange(len(labels)), labels[places[:, column]]] += weight
    return Neighbours(places, votes)
