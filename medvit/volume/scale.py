"""An HU range brought to the numbers a network takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medvit.volume.volume import Hu


@dataclass(frozen=True, slots=True)
class HuScale:
    """HU are cut to a range, and the range becomes another.

    Attributes:
        low_hu: Everything below counts as this.
        high_hu: Everything above counts as this; must be more than `low_hu`.
        low: What `low_hu` becomes.
        high: What `high_hu` becomes; less than `low` turns bright into dark.
    """

    low_hu: float
    high_hu: float
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite([self.low_hu, self.high_hu]).all() and self.low_hu < self.high_hu):
            msg = f"an HU range must be finite and rise, got {self.low_hu} to {self.high_hu} HU"
            raise ValueError(msg)
        if not np.isfinite([self.low, self.high]).all():
            msg = f"HU must become finite numbers, got {self.low} to {self.high}"
            raise ValueError(msg)

    def apply(self, hu: Hu, *, out: Hu | None = None) -> Hu:
        """Return scaled values; with `out=hu` they take the place of the HU.

        Examples:
            >>> HuScale(-1000, 400).apply(np.array([-2000, -300, 400], np.float32)).tolist()
            [0.0, 0.5, 1.0]
        """
        scaled: Hu = np.clip(hu, self.low_hu, self.high_hu, out=out)
        scaled -= self.low_hu
        scaled /= self.high_hu - self.low_hu
        if (self.low, self.high) != (0.0, 1.0):
            scaled *= self.high - self.low
            scaled += self.low
        return scaled
