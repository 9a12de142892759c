"""Grey images with bright and dark spots in known boxes, as easy to learn as boxes can be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from medvit.data.labels.coco import write_coco
from medvit.data.labels.label_set import Box, ImageLabels
from medvit.data.manifest import ManifestRow, write_manifest

SIDE_PX = 64
SHADES = {"bright": 90, "dark": -90}
CORNERS = ((4, 4), (36, 6), (5, 35), (34, 37))
"""Where spots begin, before a shift of up to 8 px."""


def write_spots(
    folder: Path, *, count: int, seed: int, split: Sequence[str] = ("train",)
) -> dict[str, tuple[Box, ...]]:
    """Write images of two spots of each shade, `coco.json` and `manifest.csv`.

    Args:
        split: Of the images by turns.

    Returns:
        The boxes of each image by its name.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    labelled = []
    for number in range(count):
        levels = rng.normal(128, 12, (SIDE_PX, SIDE_PX))
        boxes = []
        names = rng.permutation(["bright", "bright", "dark", "dark"])
        for (left, top), label in zip(CORNERS, names.tolist(), strict=True):
            x, y = left + int(rng.integers(9)), top + int(rng.integers(9))
            width, height = (int(side) for side in rng.integers(11, 16, size=2))
            levels[y : y + height, x : x + width] += SHADES[label]
            boxes.append(Box(label, x, y, x + width, y + height))
        name = f"{seed}-{number:03}.png"
        Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).save(folder / name)
        row = ManifestRow(name, "dark", split[number % len(split)], name)
        labelled.append(ImageLabels(row, tuple(boxes), (SIDE_PX, SIDE_PX)))
    write_coco(folder / "coco.json", labelled)
    write_manifest(folder / "manifest.csv", [each.row for each in labelled])
    return {each.row.path: each.boxes for each in labelled}
