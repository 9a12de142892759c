"""Which labels are right, told from their losses: a mixture of two bumps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture

Floats = NDArray[np.float64]

LEAST_GAP = 0.08
"""Means of the two bumps that lie nearer, on losses scaled to 0..1, are one bump."""


def clean_probabilities(losses: Floats) -> Floats | None:
    """Return the probability (n,) that each label is right; None when there is one bump only.

    Li 2020, arXiv 2002.07394: losses scaled to 0..1, a Gaussian mixture of two, posterior
    of the lower mean. Where the bumps are not apart there is nothing to divide by.

    Args:
        losses: (n,) of a network in evaluation mode.

    Raises:
        ValueError: If a loss is not finite: the training has failed already.
    """
    if not np.isfinite(losses).all():
        bad = int((~np.isfinite(losses)).sum())
        msg = f"losses must be finite, got {bad} of {len(losses)} that are not"
        raise ValueError(msg)
    low, high = float(losses.min()), float(losses.max())
    if len(losses) < 4 or high - low < 1e-6:
        return None
    scaled = ((losses - low) / (high - low)).reshape(-1, 1)
    mixture = GaussianMixture(2, max_iter=50, tol=1e-3, reg_covar=5e-4, random_state=0)
    mixture.fit(scaled)
    means = mixture.means_.ravel()
    if abs(float(means[0] - means[1])) < LEAST_GAP:
        return None
    posterior: Floats = mixture.predict_proba(scaled)[:, int(means.argmin())]
    # A wide lower bump outweighs the upper one at the far right too; a larger loss is never
    # a sign of a right label.
    order = np.argsort(losses, kind="stable")
    posterior[order] = np.minimum.accumulate(posterior[order])
    return posterior
