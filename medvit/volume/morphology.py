"""Mask morphology in millimetres that treats the first and last slice as cut, not as edge."""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]


def dilate(mask: Mask, radius_mm: float, *, spacing_mm: float) -> Mask:
    """Return all voxels whose centre lies within `radius_mm` of the mask."""
    if not mask.any():
        return mask.copy()
    return np.asarray(_distance_mm(~mask, spacing_mm) <= radius_mm)


def close(mask: Mask, radius_mm: float, *, spacing_mm: float) -> Mask:
    """Fill gaps and dents narrower than twice `radius_mm`; the mask never shrinks.

    The end slices are repeated outwards, so a dent at the end of a partial scan
    is closed as it would be in the middle.
    """
    if not mask.any():
        return mask.copy()
    margin = ceil(radius_mm / spacing_mm) + 1
    box = tuple(
        slice(max(0, s.start - margin), s.stop + margin)
        for s in ndimage.find_objects(mask.astype(np.uint8))[0]
    )
    ends = ((margin, margin), (0, 0), (0, 0))
    sides = ((0, 0), (margin, margin), (margin, margin))
    padded = np.pad(np.pad(mask[box], ends, mode="edge"), sides)
    grown = dilate(padded, radius_mm, spacing_mm=spacing_mm)
    kept = _distance_mm(grown, spacing_mm) > radius_mm
    closed = mask.copy()
    closed[box] |= kept[margin:-margin, margin:-margin, margin:-margin]
    return closed


def open_slices(mask: Mask, radius_mm: float, *, spacing_mm: float) -> Mask:
    """Drop what is thinner than twice `radius_mm` within its axial slice.

    What the image border cuts is continued outwards, so it is not worn off there.
    """
    margin = ceil(radius_mm / spacing_mm) + 1
    padded = np.pad(mask, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
    opened = np.stack([_open_slice(plane, radius_mm, spacing_mm) for plane in padded])
    return np.asarray(opened[:, margin:-margin, margin:-margin])


def fill_slices(mask: Mask, *, max_voxels: int | None = None) -> Mask:
    """Fill the holes of each axial slice, or those of at most `max_voxels`."""
    filled = np.stack([np.asarray(ndimage.binary_fill_holes(plane)) for plane in mask])
    if max_voxels is None:
        return filled
    return mask | np.stack([_small_parts(plane, max_voxels) for plane in filled & ~mask])


def largest_component(mask: Mask) -> Mask:
    """Return the largest face-connected part; an empty mask stays empty."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask.copy()
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def _small_parts(plane: Mask, max_voxels: int) -> Mask:
    labels, _ = ndimage.label(plane)
    is_small = np.bincount(labels.ravel()) <= max_voxels
    is_small[0] = False
    return np.asarray(is_small[labels])


def _open_slice(plane: Mask, radius_mm: float, spacing_mm: float) -> Mask:
    kept = _distance_mm(plane, spacing_mm) > radius_mm
    return dilate(kept, radius_mm, spacing_mm=spacing_mm) & plane


def _distance_mm(mask: Mask, spacing_mm: float) -> NDArray[np.float64]:
    """Return how far each voxel of the mask is from the nearest voxel outside it."""
    if mask.all():
        return np.full(mask.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=spacing_mm))
