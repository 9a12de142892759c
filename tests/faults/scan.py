"""A small CT scan whose values tell where in the patient they lie."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Values = npt.NDArray[np.int32]
Triple = tuple[float, float, float]

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)

SLOPE_HU_PER_MM = np.array([9.0, 30.0, 17.0])
"""How steeply values rise along x, y, z: a tenth of a millimetre in y shows."""

_WAVE = 60.0, np.array([0.03, 0.05, 0.06])
_NOISE_HU = 6


def hu_at(points_lps_mm: Array) -> Array:
    """Return the HU of points `(..., 3)`: nearly linear, so that linear interpolation is fair."""
    height, wave = _WAVE
    hu: Array = points_lps_mm @ SLOPE_HU_PER_MM + height * np.sin(points_lps_mm @ wave)
    return hu


@dataclass(frozen=True, slots=True)
class Scan:
    """Where the voxels of a series lie, and what they hold.

    Attributes:
        shape: Voxels along `(z, y, x)`.
        spacing_mm: Along `(z, y, x)`; z along the normal.
        orientation: Direction of increasing column, then of increasing row.
        along_mm: Way of each slice along the normal, when it is not even.
        aside_mm: LPS step that each slice makes besides: a gantry tilt.
        centre_lps_mm: Middle of the volume.
        noise_seed: Every voxel gets noise of its own; None for a smooth scan.
    """

    shape: tuple[int, int, int] = (9, 32, 40)
    spacing_mm: Triple = (2.5, 1.0, 0.8)
    orientation: tuple[float, ...] = AXIAL
    along_mm: tuple[float, ...] = ()
    aside_mm: Triple = (0.0, 0.0, 0.0)
    centre_lps_mm: Triple = (1.25, -2.5, 3.75)
    noise_seed: int | None = field(default=7)

    def positions(self) -> Array:
        """Return the LPS mm of the first pixel of each slice, `(n, 3)`."""
        depth, height, width = self.shape
        normal = np.cross(self._along_row, self._along_column)
        numbers = np.arange(depth) - (depth - 1) / 2
        along = np.array(self.along_mm) if self.along_mm else numbers * self.spacing_mm[0]
        corner = (
            np.array(self.centre_lps_mm)
            - self._along_row * self.spacing_mm[2] * (width - 1) / 2
            - self._along_column * self.spacing_mm[1] * (height - 1) / 2
        )
        places: Array = corner + np.outer(along, normal) + np.outer(numbers, self.aside_mm)
        return places

    def affine_lps(self) -> Array:
        """Return the matrix from `(z, y, x, 1)` to LPS mm; slices evenly between the outer two."""
        places = self.positions()
        normal = np.cross(self._along_row, self._along_column)
        affine = np.eye(4)
        if len(places) > 1:
            affine[:3, 0] = (places[-1] - places[0]) / (len(places) - 1)
        else:
            affine[:3, 0] = normal * self.spacing_mm[0]
        affine[:3, 1] = self._along_column * self.spacing_mm[1]
        affine[:3, 2] = self._along_row * self.spacing_mm[2]
        affine[:3, 3] = places[0]
        return affine

    def points(self) -> Array:
        """Return the LPS mm of every voxel, `(z, y, x, 3)`."""
        _, height, width = self.shape
        rows = np.outer(np.arange(height) * self.spacing_mm[1], self._along_column)
        columns = np.outer(np.arange(width) * self.spacing_mm[2], self._along_row)
        points: Array = self.positions()[:, None, None] + rows[:, None] + columns
        return points

    def hu(self) -> Values:
        """Return the values `(z, y, x)` in whole HU."""
        values = np.rint(hu_at(self.points())).astype(np.int32)
        if self.noise_seed is not None:
            rng = np.random.default_rng(self.noise_seed)
            values += rng.integers(-_NOISE_HU, _NOISE_HU + 1, self.shape, dtype=np.int32)
        return values

    @property
    def _along_row(self) -> Array:
        return np.array(self.orientation[:3], dtype=np.float64)

    @property
    def _along_column(self) -> Array:
        return np.array(self.orientation[3:], dtype=np.float64)


SCAN = Scan()
SMOOTH = Scan(noise_seed=None)
