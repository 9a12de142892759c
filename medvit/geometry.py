"""Voxel index and patient space: `(z, y, x)` on one side, LPS mm on the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Affine = npt.NDArray[np.float64]
Triple = tuple[float, float, float]


def affine_from(
    origin_lps_mm: Sequence[float],
    z_step_lps_mm: Sequence[float],
    y_step_lps_mm: Sequence[float],
    x_step_lps_mm: Sequence[float],
) -> Affine:
    """Return the 4x4 matrix that maps `(z, y, x, 1)` to `(x, y, z, 1)` in LPS mm.

    Args:
        origin_lps_mm: Centre of the voxel with index `(0, 0, 0)`.
        z_step_lps_mm: Way from one slice to the next.
        y_step_lps_mm: Way from one row to the next.
        x_step_lps_mm: Way from one column to the next.

    Raises:
        ValueError: If the steps do not span space, or a number is not finite.

    Examples:
        >>> affine_from((0, 0, -5), (0, 0, 2), (0, 1, 0), (1, 0, 0))[:3].tolist()
        [[0.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [2.0, 0.0, 0.0, -5.0]]
    """
    affine = np.eye(4)
    columns = (z_step_lps_mm, y_step_lps_mm, x_step_lps_mm, origin_lps_mm)
    for index, column in enumerate(columns):
        affine[:3, index] = column
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) == 0:
        msg = f"the voxel axes must be finite and span space, got {affine[:3].tolist()}"
        raise ValueError(msg)
    return affine


def index_to_lps(affine: Affine, index_zyx: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the LPS mm point `(..., 3)` as x, y, z of an index `(..., 3)` as z, y, x.

    Examples:
        >>> affine = affine_from((10, 20, 30), (0, 0, 2), (0, 1, 0), (1, 0, 0))
        >>> index_to_lps(affine, (1, 2, 3)).tolist()
        [13.0, 22.0, 32.0]
    """
    index = np.asarray(index_zyx, dtype=np.float64)
    point: npt.NDArray[np.float64] = index @ affine[:3, :3].T + affine[:3, 3]
    return point


def lps_to_index(affine: Affine, point_xyz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the index `(..., 3)` as z, y, x, with fractions, of an LPS mm point.

    Examples:
        >>> affine = affine_from((10, 20, 30), (0, 0, 2), (0, 1, 0), (1, 0, 0))
        >>> lps_to_index(affine, (13, 22, 33)).tolist()
        [1.5, 2.0, 3.0]
    """
    offset = np.asarray(point_xyz, dtype=np.float64) - affine[:3, 3]
    index: npt.NDArray[np.float64] = offset @ np.linalg.inv(affine[:3, :3]).T
    return index


def spacing_of(affine: Affine) -> Triple:
    """Return the length in mm of one step along `(z, y, x)`.

    Examples:
        >>> spacing_of(affine_from((0, 0, 0), (0, 3, 4), (0, 1, 0), (0.5, 0, 0)))
        (5.0, 1.0, 0.5)
    """
    z_mm, y_mm, x_mm = np.linalg.norm(affine[:3, :3], axis=0)
    return float(z_mm), float(y_mm), float(x_mm)
