"""How typical an image is of what a model was trained on: relative Mahalanobis distance.

Ren 2021, arXiv 2106.09022. The plain distance (Lee 2018, arXiv 1807.03888) also
measures what all images share; the relative one takes that off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

TYPICAL_SHARE = 0.95
"""Share of held-out known images that count as typical."""


@dataclass(frozen=True, slots=True, eq=False)
class Typicality:
    """What features of known images look like.

    Attributes:
        means: (k, d) of each class.
        mean: (d,) of all.
        within: (d, d) upper Cholesky factor of the covariance around the class means.
        overall: (d, d) the same around the mean of all.
    """

    means: Floats
    mean: Floats
    within: Floats
    overall: Floats

    @classmethod
    def of(cls, features: Floats, labels: Indices) -> Typicality:
        """Learn from features of training images.

        Covariances are shrunk towards a multiple of the identity (Ledoit 2004), so that
        fewer images than features do no harm.

        Args:
            features: (n, d).
            labels: (n,) class indices; every class up to the largest has an image.

        Raises:
            ValueError: If a class has no image, or a feature is not finite.
        """
        _check(features)
        counts = np.bincount(labels)
        if len(labels) != len(features) or (counts == 0).any():
            msg = f"every class needs an image, got counts {counts.tolist()}"
            raise ValueError(msg)
        x = features.astype(np.float64)
        means = np.stack([x[labels == k].mean(axis=0) for k in range(len(counts))])
        mean = x.mean(axis=0)
        return cls(means, mean, _factor(x - means[labels]), _factor(x - mean))

    def scores(self, features: Floats) -> Floats:
        """Return a score (n,) of each image; higher is more typical.

        `max over classes of d_0 - d_c`, with squared distances to the mean of all and to
        that of the class.

        Raises:
            ValueError: If a feature is not finite.
        """
        _check(features)
        x = features.astype(np.float64)
        overall = _distances(x, self.mean[None], self.overall)[0]
        found: Floats = overall - _distances(x, self.means, self.within).min(axis=0)
        return found


def typical_from(held_out: Floats) -> float:
    """Return the score from which images are typical: 95 % of held-out known ones are.

    Args:
        held_out: Scores of known images that nothing was learnt from.

    Raises:
        ValueError: If there are fewer than 20: one in twenty cannot be told.
    """
    if len(held_out) < 20:
        msg = f"a threshold needs scores of 20 held-out images, got {len(held_out)}"
        raise ValueError(msg)
    return float(np.quantile(held_out, 1 - TYPICAL_SHARE, method="lower"))


def _check(features: Floats) -> None:
    if features.ndim != 2 or not np.isfinite(features).all():
        msg = f"features must be finite and of shape (n, d), got shape {features.shape}"
        raise ValueError(msg)


def _factor(centred: Floats) -> Floats:
    from sklearn.covariance import ledoit_wolf  # noqa: PLC0415 - scans do not import it

    covariance, _ = ledoit_wolf(centred, assume_centered=True)
    scale = np.trace(covariance) / len(covariance)
    factor: Floats = cholesky(covariance + 1e-12 * max(scale, 1e-12) * np.eye(len(covariance)))
    return factor


def _distances(x: Floats, means: Floats, factor: Floats) -> Floats:
    """Return squared Mahalanobis distances (k, n) of rows (n, d) to means (k, d).

    Rows and means are whitened together: the factor is what costs time, and is read once.
    """
    both = np.concatenate([means, x]).T
    white = solve_triangular(factor, both, trans="T", check_finite=False)  # (d, k + n)
    apart = [white[:, len(means) :] - white[:, k, None] for k in range(len(means))]
    return np.stack([(each**2).sum(axis=0) for each in apart])
