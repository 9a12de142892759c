"""How the axes of a volume lie in the patient, and the affine that sets them upright."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from medvit.geometry import Affine, Triple

PATIENT_ROW = (2, 1, 0)
"""Row of an LPS vector (x, y, z) that upright axis z, y, x runs along."""

Axes = tuple[int, int, int]


def nearest_axes(affine_lps: Affine) -> Axes:
    """Return the source axis that runs nearest to the patient's z, y and x axis.

    Examples:
        >>> nearest_axes(np.diag([1.0, 1.0, 1.0, 1.0]))
        (2, 1, 0)
    """
    steps = affine_lps[:3, :3] / np.linalg.norm(affine_lps[:3, :3], axis=0)
    cosine = np.abs(steps[list(PATIENT_ROW)])  # (grid axis, source axis)

    def alignment(axes: tuple[int, ...]) -> float:
        return float(sum(cosine[grid, source] for grid, source in enumerate(axes)))

    z, y, x = max(permutations(range(3)), key=alignment)
    return z, y, x


def runs_backwards(affine_lps: Affine, source_axis: int, *, along: int) -> bool:
    """Return whether a source axis runs against the patient's axis `along` (0 is z).

    Examples:
        >>> runs_backwards(np.diag([-1.0, 1.0, 1.0, 1.0]), 0, along=2)
        True
    """
    return bool(affine_lps[PATIENT_ROW[along], source_axis] < 0)


def upright_affine(affine_lps: Affine, axes: Axes, *, first: Triple, spacing_mm: Triple) -> Affine:
    """Return the affine of a grid whose z, y, x run along and with the source's `axes`.

    Args:
        affine_lps: 4x4, of the source.
        axes: The source axis that each grid axis runs along.
        first: Where on that axis the first voxel lies, in source voxels.
        spacing_mm: Edges of a grid voxel.
    """
    place = np.array([0.0, 0.0, 0.0, 1.0])
    upright = np.eye(4)
    for axis, source_axis in enumerate(axes):
        place[source_axis] = first[axis]
        step = affine_lps[:3, source_axis]
        towards = -1.0 if runs_backwards(affine_lps, source_axis, along=axis) else 1.0
        upright[:3, axis] = step * (towards * spacing_mm[axis] / np.linalg.norm(step))
    upright[:3, 3] = (affine_lps @ place)[:3]
    return upright
