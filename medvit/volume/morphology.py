"""Mask morphology in millimetres that treats the first and last slice as cut, not as edge."""

from __future__ import annotations

from math import ceil, floor, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]

SLAB_SLICES = 32
WITHIN_SLICE = np.zeros((3, 3, 3), dtype=bool)
WITHIN_SLICE[1] = ndimage.generate_binary_structure(2, 1)


def dilate(mask: Mask, radius_mm: float, *, spacing_mm: float) -> Mask:
    """Return all voxels whose centre lies within `radius_mm` of the mask."""
    grown = np.zeros_like(mask)
    box = _bounds(mask, margin=floor(radius_mm / spacing_mm))
    if box is not None:
        grown[box] = _grown(mask[box], radius_mm / spacing_mm, axes=(2, 1, 0))
    return grown


def close(mask: Mask, radius_mm: float, *, spacing_mm: float) -> Mask:
    """Fill gaps and dents narrower than twice `radius_mm`; the mask never shrinks.

    The end slices are repeated outwards, so a dent at the end of a partial scan
    is closed as it would be in the middle.
    """
    closed = mask.copy()
    margin = ceil(radius_mm / spacing_mm) + 1
    box = _bounds(mask, margin=margin)
    if box is None:
        return closed
    ends = ((margin, margin), (0, 0), (0, 0))
    sides = ((0, 0), (margin, margin), (margin, margin))
    padded = np.pad(np.pad(mask[box], ends, mode="edge"), sides)
    kept = _shrunk(_grown(padded, radius_mm / spacing_mm), radius_mm / spacing_mm)
    closed[box] |= kept[margin:-margin, margin:-margin, margin:-margin]
    return closed


def open_slices(mask: Mask, radius_mm: float, *, spacing_mm: float) -> Mask:
    """Drop what is thinner than twice `radius_mm` within its axial slice.

    What the image border cuts is continued outwards, so it is not worn off there.
    """
    margin = ceil(radius_mm / spacing_mm) + 1
    padded = np.pad(mask, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
    kept = _shrunk(padded, radius_mm / spacing_mm, axes=(2, 1))
    opened = _grown(kept, radius_mm / spacing_mm, axes=(2, 1)) & padded
    return np.asarray(opened[:, margin:-margin, margin:-margin])


def fill_slices(mask: Mask, *, max_voxels: int | None = None) -> Mask:
    """Fill the holes of each axial slice, or those of at most `max_voxels`."""
    filled = mask.copy()
    box = _bounds(mask, margin=0)
    if box is None:
        return filled
    part = filled[box]
    for start in range(0, len(part), SLAB_SLICES):
        slab = part[start : start + SLAB_SLICES]
        labels, _ = ndimage.label(~slab, structure=WITHIN_SLICE)
        sizes = np.bincount(labels.ravel())
        is_hole = np.ones(len(sizes), dtype=bool) if max_voxels is None else sizes <= max_voxels
        for edge in (labels[:, 0], labels[:, -1], labels[..., 0], labels[..., -1]):
            is_hole[edge] = False
        is_hole[0] = False  # the mask itself
        slab |= is_hole[labels]
    return filled


def largest_component(mask: Mask) -> Mask:
    """Return the largest face-connected part; an empty mask stays empty."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask.copy()
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def _bounds(mask: Mask, *, margin: int) -> tuple[slice, ...] | None:
    """Return the smallest box that holds the mask, and a margin; None if it is empty."""
    if not mask.any():
        return None
    used = (np.flatnonzero(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1)))
    return tuple(slice(max(0, int(n[0]) - margin), int(n[-1]) + margin + 1) for n in used)


def _shrunk(mask: Mask, radius: float, axes: tuple[int, ...] = (2, 1, 0)) -> Mask:
    """Return what is further than `radius` voxels from all that is not mask."""
    return ~_grown(~mask, radius, axes)


def _grown(mask: Mask, radius: float, axes: tuple[int, ...] = (2, 1, 0)) -> Mask:
    """Return what lies within `radius` voxels of the mask, measured along `axes`.

    The least squared distance is found axis by axis (Felzenszwalb and Huttenlocher
    2012), in whole numbers no larger than needed: exact, and a byte or two a voxel.
    """
    most = floor(radius**2 + 1e-6)
    distance = np.where(mask, 0, most + 1).astype(np.min_scalar_type(2 * most + 1))
    for axis in axes:
        # A view whose first axis is the one to walk along.
        far = np.moveaxis(distance.copy(), axis, 0)
        near = np.moveaxis(distance, axis, 0)
        for step in range(1, min(floor(sqrt(most)), len(far) - 1) + 1):
            cost = far.dtype.type(step**2)
            np.minimum(near[step:], far[:-step] + cost, out=near[step:])
            np.minimum(near[:-step], far[step:] + cost, out=near[:-step])
    return np.asarray(distance <= most)
