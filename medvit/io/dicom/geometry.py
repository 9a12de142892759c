"""Order, spacing and straightness of a stack of DICOM slices, measured from their positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medvit.geometry import Affine, affine_from
from medvit.io.dicom.header import SliceHeader

ORIENTATION_TOLERANCE = 1e-3
"""Largest difference of direction cosines within a stack, and from unit length."""

SPACING_TOLERANCE_MM = 0.05
"""How far a slice may lie off the regular grid: positions are often written with one decimal."""

SPACING_TOLERANCE_RATIO = 0.01
"""The same as a share of the slice distance; the two are added."""

DUPLICATE_TOLERANCE_MM = 0.01
"""Slices nearer than this are at one position."""

TILT_TOLERANCE_DEG = 0.2
"""Largest angle between the way from slice to slice and the normal of the slices."""

PIXEL_SPACING_TOLERANCE_MM = 1e-4
"""Largest difference of pixel spacings within a stack."""

MIN_SLICES = 3
"""Fewest slices whose regularity can be judged."""

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Slices in spatial order and the line through their first pixels.

    Attributes:
        headers: By increasing position along the normal.
        along_mm: (n,) position of each slice along the normal.
        aside_mm: (n, 2) way from the first slice to each one within the plane, along the
            column direction (rows) and the row direction (columns).
        step_mm: Best mean way from slice to slice, LPS.
        origin_mm: Where the line of even steps puts the first slice, LPS.
        normal: Row direction cross column direction.
    """

    headers: tuple[SliceHeader, ...]
    along_mm: Points
    aside_mm: Points
    step_mm: Points
    origin_mm: Points
    normal: Points

    @property
    def gaps_mm(self) -> Points:
        """Return the (n - 1,) distances of neighbours along the normal."""
        return np.diff(self.along_mm)

    @property
    def spacing_mm(self) -> float:
        """Return the best mean distance along the normal."""
        return float(self.step_mm @ self.normal)

    @property
    def off_grid_mm(self) -> Points:
        """Return how far (n,) each slice lies along the normal from an even grid."""
        numbers = np.arange(len(self.along_mm))
        return self.along_mm - self.origin_mm @ self.normal - numbers * self.spacing_mm

    @property
    def drift(self) -> Points:
        """Return the way (2,) aside, as `aside_mm`, for each mm along the normal."""
        along = self.along_mm - self.along_mm.mean()
        spread = float(along @ along)
        drift: Points = along @ self.aside_mm / spread if spread > 0 else np.zeros(2)
        return drift

    @property
    def tilt_deg(self) -> float:
        """Return the angle between the way from slice to slice and the normal."""
        return float(np.degrees(np.arctan(np.linalg.norm(self.drift))))

    @property
    def off_line_mm(self) -> Points:
        """Return how far (n,) each slice lies within its plane from the line of the others."""
        line = np.outer(self.along_mm - self.along_mm.mean(), self.drift)
        rest: Points = np.linalg.norm(self.aside_mm - self.aside_mm.mean(axis=0) - line, axis=1)
        return rest


def stack_slices(headers: Sequence[SliceHeader]) -> Stack:
    """Order slices by position along the normal of the first one.

    Raises:
        ValueError: If a slice has no position or orientation.
    """
    normal = normal_of(headers[0])
    along_row, along_column = directions_of(headers[0])
    places = np.array([_position(header) for header in headers])
    order = np.argsort(places @ normal, kind="stable")
    places = places[order]
    numbers = np.arange(len(places)) - (len(places) - 1) / 2
    spread = float(numbers @ numbers) or 1.0
    # Rounded to a picometre: positions such as 3 * 0.1 leave noise in the last digits.
    step = np.round(numbers @ places / spread, 9)
    return Stack(
        headers=tuple(headers[index] for index in order),
        along_mm=places @ normal,
        aside_mm=(places - places[0]) @ np.stack([along_column, along_row], axis=1),
        step_mm=step,
        origin_mm=places.mean(axis=0) + numbers[0] * step,
        normal=normal,
    )


def name_of(header: SliceHeader) -> str:
    """Return the file of a slice, and its frame, counted from 1, where there are more."""
    name = header.path.name
    return name if header.layout.frames == 1 else f"{name} frame {header.frame + 1}"


def normal_of(header: SliceHeader) -> Points:
    """Return row direction cross column direction, of unit length."""
    along_row, along_column = directions_of(header)
    normal: Points = np.cross(along_row, along_column)
    return normal / np.linalg.norm(normal)


def directions_of(header: SliceHeader) -> tuple[Points, Points]:
    """Return the direction of increasing column, then of increasing row."""
    if header.placement.orientation is None:
        msg = f"{header.path.name}: the slice has no orientation"
        raise ValueError(msg)
    cosines = np.asarray(header.placement.orientation, dtype=np.float64)
    return cosines[:3], cosines[3:]


def pixel_steps_of(header: SliceHeader) -> tuple[Points, Points]:
    """Return the way in LPS mm from row to row, then from column to column."""
    if header.placement.pixel_spacing_mm is None:
        msg = f"{header.path.name}: the slice has no pixel spacing"
        raise ValueError(msg)
    along_row, along_column = directions_of(header)
    row_mm, column_mm = header.placement.pixel_spacing_mm
    return along_column * row_mm, along_row * column_mm


def affine_of(stack: Stack) -> Affine:
    """Return the affine of an even stack, with any tilt kept as a sheared z step."""
    row_step, column_step = pixel_steps_of(stack.headers[0])
    return affine_from(
        stack.origin_mm.tolist(), stack.step_mm.tolist(), row_step.tolist(), column_step.tolist()
    )


def tolerance_mm(step_mm: float) -> float:
    """Return how far a slice may lie off its place in a stack of this slice distance."""
    return SPACING_TOLERANCE_MM + SPACING_TOLERANCE_RATIO * step_mm


def _position(header: SliceHeader) -> tuple[float, float, float]:
    if header.placement.position_mm is None:
        msg = f"{header.path.name}: the slice has no position"
        raise ValueError(msg)
    return header.placement.position_mm
