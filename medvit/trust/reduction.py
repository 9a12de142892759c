"""Thousands of features in few directions, for statistics that grow with their square.

With few images a feature the covariance within classes is shrunk harder than that of all: along
directions that hardly any training image knows, the first is then the larger one, and a strange
image counts as typical. Of 352 features of an EfficientNet, 660 images of X-SDD to learn from,
every solar cell was thought more typical than X-SDD's own test images; along 64 directions and
beside them all are told apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medvit.trust.typicality import Floats

DIRECTIONS = 64
IMAGES_A_DIRECTION = 4
"""At least; what few images span says little of what else there is."""

TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Reduction:
    """The directions in which known images differ most, and how far they lie beside them.

    Attributes:
        mean: (d,) of known images.
        directions: (r, d) orthonormal rows.
        beside: Mean squared distance of known images from the span of the directions.
    """

    mean: Floats
    directions: Floats
    beside: float

    @classmethod
    def of(cls, features: Floats) -> Reduction | None:
        """Learn from features of training images (n, d); None where n is at least 4 d.

        Raises:
            ValueError: If a feature is not finite.
        """
        count, width = features.shape
        most = count // IMAGES_A_DIRECTION
        if width <= most:
            return None
        if not np.isfinite(features).all():
            msg = "features must be finite"
            raise ValueError(msg)
        kept = max(1, min(DIRECTIONS, most))
        _, _, directions = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
        # As the file keeps them, so that scores are the same after it was read.
        own = cls(
            features.mean(axis=0).astype(np.float32).astype(np.float64),
            directions[:kept].astype(np.float32).astype(np.float64),
            1.0,
        )
        _, beside = own.split(features)
        return cls(own.mean, own.directions, max(float(beside.mean()), TINY))

    def split(self, features: Floats) -> tuple[Floats, Floats]:
        """Return coordinates (n, r), and squared distances (n,) in units of `beside`."""
        centred = features - self.mean
        along = centred @ self.directions.T
        rest: Floats = np.maximum((centred**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        return along, rest / self.beside
