"""Random views of surface images: the one file that knows albumentations.

Crops keep at least a third of the image and blur and noise stay below the scale of a
visible defect: stronger ones erase a defect, or make one. Hue is never changed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvit.data.augment.rand_augment import apply_operations, draw_operations

# Read once, at import: without it the import opens a connection to ask for updates.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A  # noqa: N812


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """How much a view may differ from its image.

    Attributes:
        side_px: Side of the square view.
        min_area: Smallest share of the image that a crop keeps.
        contrast: Largest relative change of contrast.
        brightness: Largest shift, as a share of the grey range.
        blur_sigma_px: Largest sigma of the Gaussian blur.
        noise_std: Largest sd of added noise, as a share of the grey range.
        rotate: Also turn by multiples of 90 degrees: only for parts without direction.
        rand_operations: Operations of RandAugment on top; 0 for none.
        rand_magnitude: Their strength, 0 to 10.
    """

    side_px: int
    min_area: float = 0.5
    contrast: float = 0.3
    brightness: float = 0.1
    blur_sigma_px: float = 0.8
    noise_std: float = 0.02
    rotate: bool = False
    rand_operations: int = 0
    rand_magnitude: float = 5.0

    def __post_init__(self) -> None:
        if self.side_px < 16 or not 0.3 <= self.min_area <= 1.0:
            msg = (
                "a view needs side_px >= 16 and min_area in 0.3..1, "
                f"got {self.side_px} and {self.min_area}"
            )
            raise ValueError(msg)
        if self.rand_operations < 0 or not 0 <= self.rand_magnitude <= 10:
            msg = (
                "rand_operations must not be negative and rand_magnitude lie in 0..10, "
                f"got {self.rand_operations} and {self.rand_magnitude}"
            )
            raise ValueError(msg)


class SurfaceViews:
    """Draws views of images, grey or in colour; the same seed gives the same view."""

    def __init__(self, settings: ViewSettings) -> None:
        self.settings = settings
        side = (settings.side_px, settings.side_px)
        turns = [A.RandomRotate90(p=1.0)] if settings.rotate else []
        self._compose = A.Compose(
            [
                A.RandomResizedCrop(
                    size=side, scale=(settings.min_area, 1.0), ratio=(0.85, 1.18), p=1.0
                ),
                A.HorizontalFlip(p=0.5),
                A.VerticalFlip(p=0.5),
                *turns,
                A.RandomBrightnessContrast(
                    brightness_limit=settings.brightness, contrast_limit=settings.contrast, p=0.8
                ),
                A.GaussianBlur(sigma_limit=(0.1, settings.blur_sigma_px), blur_limit=0, p=0.3),
                A.GaussNoise(std_range=(0.0, settings.noise_std), p=0.3),
            ]
        )

    def view(self, image: NDArray[np.uint8], *, seed: int) -> NDArray[np.uint8]:
        """Return a view (side, side) or (side, side, 3) of an image (h, w) or (h, w, 3)."""
        settings = self.settings
        if settings.rand_operations:
            operations = draw_operations(
                np.random.default_rng(seed),
                count=settings.rand_operations,
                magnitude=settings.rand_magnitude,
                is_colour=image.ndim == 3,
            )
            image = apply_operations(image, operations)
        self._compose.set_random_seed(seed)
        planes = image[:, :, None] if image.ndim == 2 else image
        changed: NDArray[np.uint8] = self._compose(image=planes)["image"]
        return changed.reshape(settings.side_px, settings.side_px, *image.shape[2:])


def view_seed(*numbers: int) -> int:
    """Return one 31-bit seed for a draw named by several numbers.

    Examples:
        >>> view_seed(1, 2) == view_seed(1, 2), view_seed(1, 2) == view_seed(2, 1)
        (True, False)
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0]) >> 1
