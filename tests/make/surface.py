"""A tiny manifest of grey images in two or three classes that can be told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medvit.data.manifest import ManifestRow, write_manifest

CLASSES = ("dots", "lines", "plain")


def surface_image(
    label: str, *, side_px: int, rng: np.random.Generator, grain: float = 3
) -> NDArray[np.uint8]:
    """Return a grey uint8 image (side, side) that shows one class.

    Args:
        label: The class.
        side_px: Edge of the image.
        rng: Draws grain and place.
        grain: Standard deviation of grey levels; with little of it images look like parts of
            one another.
    """
    grey = rng.normal(128, grain, (side_px, side_px))
    if label == "lines":
        start = int(rng.integers(side_px - 4))
        grey[:, start : start + 4] -= 60
    if label == "dots":
        y, x = rng.integers(side_px - 8, size=2)
        grey[y : y + 8, x : x + 8] += 60
    return np.clip(grey, 0, 255).astype(np.uint8)


def write_surface_set(
    folder: Path, *, per_split: dict[str, int], classes: tuple[str, ...] = CLASSES
) -> Path:
    """Write images of every class for each split, and return their manifest."""
    rng = np.random.default_rng(5)
    rows = []
    for split, count in per_split.items():
        for label in classes:
            for number in range(count):
                name = f"{label}-{split}-{number}.png"
                Image.fromarray(surface_image(label, side_px=32, rng=rng)).save(folder / name)
                rows.append(ManifestRow(name, label, split, name))
    write_manifest(folder / "manifest.csv", rows)
    return folder / "manifest.csv"
