"""Display windows: a range of CT values and the grey levels a screen shows for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Window:
    """A display range of CT values.

    Attributes:
        centre_hu: Middle of the range.
        width_hu: Full width; must be positive.
    """

    centre_hu: float
    width_hu: float

    def __post_init__(self) -> None:
        if not self.width_hu > 0:
            msg = f"window width must be positive, got {self.width_hu} HU"
            raise ValueError(msg)

    @property
    def low_hu(self) -> float:
        """The value shown black."""
        return self.centre_hu - self.width_hu / 2

    @property
    def high_hu(self) -> float:
        """The value shown white."""
        return self.centre_hu + self.width_hu / 2

    def apply(self, hu: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return grey levels 0..255 (DICOM's LINEAR_EXACT); NaN is black.

        Examples:
            >>> Window(0, 100).apply(np.array([-80.0, 0.0, 50.0])).tolist()
            [0, 128, 255]
        """
        grey = (np.asarray(hu, dtype=np.float32) - self.low_hu) * np.float32(255 / self.width_hu)
        grey = np.clip(np.nan_to_num(grey, nan=0.0, posinf=255.0, neginf=0.0), 0, 255)
        levels: NDArray[np.uint8] = np.floor(grey + 0.5).astype(np.uint8)
        return levels


LUNG = Window(centre_hu=-600, width_hu=1500)
SOFT_TISSUE = Window(centre_hu=40, width_hu=400)
BONE = Window(centre_hu=480, width_hu=2500)
LIVER = Window(centre_hu=90, width_hu=150)
BRAIN = Window(centre_hu=40, width_hu=80)

PRESETS: dict[str, Window] = {
    "lung": LUNG,
    "soft tissue": SOFT_TISSUE,
    "bone": BONE,
    "liver": LIVER,
    "brain": BRAIN,
}
"""By name, in the order of the keys 1 to 5."""
