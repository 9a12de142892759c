"""How much memory a case will take, from its shape alone, before its pixels are read."""

from __future__ import annotations

from math import prod

from medvit.io.planes import CACHE_BYTES
from medvit.io.verdict import Triage
from medvit.volume.lungs import COARSE_MM, SLAB_VOXELS
from pipelines.scanning.memory import MIB

TILE_MB = 320.0
"""What the nodule detector holds for one tile of 96x96x96, measured in float32."""

STORED_BYTES = 2
"""Bytes of a decoded voxel in the cache of planes."""

SLAB_COPIES = 3
"""Float32 copies of a slab while it is resampled: source, one axis done, result."""

COARSE_BYTES = 48
"""Bytes for each coarse voxel while lungs are found: values, masks, labels, distances."""

CLASSIFIER_MB = 90.0
"""What the image classifier holds for one image, its gradients included, measured."""

DECODER_MB = 60.0
"""What the process that decodes images and compressed slices holds, measured."""

IMAGE_BYTES = 96
"""Bytes for each pixel of an image: values, heat map, overlay and their copies, measured."""


def predict_peak_mb(judged: Triage, *, held_mb: float) -> float:
    """Return the peak memory in MiB that a case is expected to reach.

    A CT scan takes its decoded planes, up to the cache's limit, and on top the larger
    of two passes: coarse slabs for the lungs, then tiles for the detector.

    Args:
        judged: Triage of the case; a refused case takes nothing.
        held_mb: What the process holds before the case.
    """
    if judged.verdict == "refuse" or judged.shape is None:
        return held_mb
    if judged.spacing_mm is None:
        return held_mb + CLASSIFIER_MB + DECODER_MB + prod(judged.shape) * IMAGE_BYTES / MIB
    shape, spacing_mm = judged.shape, judged.spacing_mm
    planes = min(CACHE_BYTES, prod(shape) * STORED_BYTES)
    coarse_voxels = prod(n * mm / COARSE_MM for n, mm in zip(shape, spacing_mm, strict=True))
    slab_slices = min(shape[0], SLAB_VOXELS * COARSE_MM / spacing_mm[0])
    slab = slab_slices * shape[1] * shape[2] * 4 * SLAB_COPIES
    lungs = coarse_voxels * COARSE_BYTES + slab
    return held_mb + planes / MIB + max(TILE_MB, lungs / MIB)
