"""A small classifier that looks for the seam of an insertion in patches of 7x7x7 voxels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]


def look(patch: Floats) -> list[float]:
    """Return what a seam would change: roughness here and there, and the spectrum of the noise."""
    fine = patch - ndimage.uniform_filter(patch, 3)
    middle = fine[2:5, 2:5, 2:5]
    steps = [float(np.abs(np.diff(patch, axis=axis)).mean()) for axis in range(3)]
    peaked = float(((fine / fine.std()) ** 4).mean())
    power = np.log(np.abs(np.fft.rfftn(fine)) ** 2 + 1)
    profile = [float(power.mean(axis=others)[k]) for k in range(4) for others in ((1, 2), (0, 2))]
    spread = [float(fine.std()), float(middle.std()), float(patch.std()), peaked]
    return [*spread, *steps, *profile, *power[:4, :4].mean(axis=2).ravel().tolist()]


def auc(positive: list[list[float]], negative: list[list[float]]) -> float:
    """Return how well a quadratic ridge fit on one half tells the other half apart."""
    looks = np.array(positive + negative)
    looks = (looks - looks.mean(axis=0)) / looks.std(axis=0)
    looks = np.column_stack([looks, looks**2, np.ones(len(looks))])
    truth = np.repeat([1.0, -1.0], [len(positive), len(negative)])
    train, test = looks[::2], looks[1::2]
    ridge = 20 * np.eye(looks.shape[1])
    fit = np.linalg.solve(train.T @ train + ridge, train.T @ truth[::2])
    score, is_positive = test @ fit, truth[1::2] > 0
    wins = score[is_positive][:, None] > score[~is_positive]
    return float(wins.mean())
