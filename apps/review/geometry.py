"""What the CT viewer knows of a scan before it has seen a voxel."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from apps.review.planes import OBLIQUE_DEG, obliqueness_deg, planes_of
from medvit.volume.levels import Level, plan_levels
from medvit.volume.volume import Volume
from medvit.volume.window import PRESETS

QUICK_BYTES = 640 * 1024
"""A plane across the stack that is larger is shown from a coarser level first: a 512x512x640
scan is not, a 1 GB one is."""

MOST_READ_BYTES = 2 * 1024**3
"""For a slice along the rows of plain files all of them are read: of more than this only the
pyramid is shown."""


def geometry_of(volume: Volume) -> dict[str, Any]:
    """Return shape, place, planes, levels and slice numbers of a scan, ready for JSON.

    `affine` maps `(z, y, x, 1)` to LPS mm and `inverse` back. `quick` says for each source
    axis which level is shown while slices move, `finest` which one at rest. `numbers` holds
    the InstanceNumber of each slice, None where the file has none, and is empty where no
    DICOM file is behind it.
    """
    affine = volume.affine_lps
    turned = obliqueness_deg(affine)
    levels = plan_levels(volume.shape, affine)
    return {
        "shape": list(volume.shape),
        "affine": affine.tolist(),
        "inverse": np.linalg.inv(affine).tolist(),
        "planes": [plane.as_data() for plane in planes_of(volume.shape, affine)],
        "levels": [{"shape": each.shape, "factors": each.factors} for each in levels],
        "quick": [quick_level(levels, axis) for axis in range(3)],
        "finest": [0, 0, int(is_vast(volume) and len(levels) > 1)],
        "numbers": [origin.instance_number for origin in volume.origins],
        "note": f"oblique by {turned:.0f}°: planes follow the scan" if turned > OBLIQUE_DEG else "",
    }


def presets() -> list[dict[str, Any]]:
    """Return the windows of the number keys, in their order."""
    return [
        {"name": name.capitalize(), "centre": window.centre_hu, "width": window.width_hu}
        for name, window in PRESETS.items()
    ]


def is_vast(volume: Volume) -> bool:
    """Return whether reading through all files takes longer than a reader waits."""
    return volume.is_plain and 2 * prod(volume.shape) > MOST_READ_BYTES


def quick_level(levels: Sequence[Level], axis: int) -> int:
    """Return the finest level of which a slice across an axis is small enough to follow a hand.

    Slices of the stack always are: they are read as they lie in the files.
    """
    if axis == 0:
        return 0
    sizes = [2 * int(np.prod(level.shape)) // level.shape[axis] for level in levels]
    return next((n for n, size in enumerate(sizes) if size <= QUICK_BYTES), len(levels) - 1)
