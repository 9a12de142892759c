"""How the three planes of a CT volume lie on the screen, worked out from its affine."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from medvit.geometry import Affine, spacing_of

OBLIQUE_DEG = 3.0
"""Turns smaller than this are what any careful positioning leaves."""

SECOND_LETTER = 0.26
"""A direction that leans more than 15 degrees to a side gets that side's letter too."""

LETTERS = (("L", "R"), ("P", "A"), ("S", "I"))
"""Towards plus and minus of the LPS axes; S and I name the superior and inferior ends."""

_LEFT = (0, 1.0)
_BACK = (1, 1.0)
_DOWN = (2, -1.0)
_LAYOUT = (("Axial", 2, _BACK, _LEFT), ("Coronal", 1, _DOWN, _LEFT), ("Sagittal", 0, _DOWN, _BACK))
"""Name, patient axis of the normal, patient direction of rows and of columns on the screen."""


@dataclass(frozen=True, slots=True)
class Plane:
    """One displayed plane of a volume.

    Attributes:
        name: Axial, Coronal or Sagittal, whichever of them lies nearest.
        axis: Source axis (0 z, 1 y, 2 x) that slices run along.
        row_axis: Source axis that runs down the screen.
        row_flip: Whether it runs against the source index.
        col_axis: Source axis that runs to the right.
        col_flip: Whether it runs against the source index.
        shape: Source shape `(z, y, x)`.
        spacing_mm: Source spacing `(z, y, x)`.
        letters: Letters of the patient's sides at top, bottom, left and right.
    """

    name: str
    axis: int
    row_axis: int
    row_flip: bool
    col_axis: int
    col_flip: bool
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    letters: dict[str, str]

    def arrange(self, source: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        """Return a slice `(rows, cols)` as shown, from one in source axis order."""
        shown = source.T if self.row_axis > self.col_axis else source
        rows = slice(None, None, -1) if self.row_flip else slice(None)
        cols = slice(None, None, -1) if self.col_flip else slice(None)
        return np.ascontiguousarray(shown[rows, cols])

    def as_data(self) -> dict[str, Any]:
        """Return what the viewer in the browser needs."""
        return {
            "name": self.name,
            "axis": self.axis,
            "count": self.shape[self.axis],
            "normalMm": self.spacing_mm[self.axis],
            "rowAxis": self.row_axis,
            "rowFlip": self.row_flip,
            "rows": self.shape[self.row_axis],
            "rowMm": self.spacing_mm[self.row_axis],
            "colAxis": self.col_axis,
            "colFlip": self.col_flip,
            "cols": self.shape[self.col_axis],
            "colMm": self.spacing_mm[self.col_axis],
            "letters": self.letters,
        }


def planes_of(shape: tuple[int, int, int], affine: Affine) -> tuple[Plane, Plane, Plane]:
    """Return the axial, coronal and sagittal plane of a volume, as radiologists hang them.

    The patient's right is on the left, the front on top or on the left, the head
    on top. Of a scan that lies oblique in the patient the planes are its own.
    """
    axial, coronal, sagittal = (
        _plane(name, normal, row, col, (shape, affine)) for name, normal, row, col in _LAYOUT
    )
    return axial, coronal, sagittal


def obliqueness_deg(affine: Affine) -> float:
    """Return the largest angle between a source axis and the patient axis it stands for."""
    directions = _directions(affine)
    cosines = [abs(directions[patient, source]) for patient, source in enumerate(_match(affine))]
    return float(np.degrees(np.arccos(np.clip(min(cosines), 0.0, 1.0))))


def side_letters(direction: npt.NDArray[np.float64]) -> str:
    """Return the letters of the sides a direction in LPS points to, the main one first.

    Examples:
        >>> side_letters(np.array([-1.0, 0.0, 0.0]))
        'R'
        >>> side_letters(np.array([0.0, 0.8, -0.6]))
        'PI'
    """
    order = np.argsort(-np.abs(direction), kind="stable")
    told = [
        axis for rank, axis in enumerate(order) if not rank or abs(direction[axis]) > SECOND_LETTER
    ]
    return "".join(LETTERS[axis][int(direction[axis] < 0)] for axis in told)


def _directions(affine: Affine) -> npt.NDArray[np.float64]:
    """Return unit vectors as columns, one for each of the source axes z, y, x."""
    columns = affine[:3, :3]
    unit: npt.NDArray[np.float64] = columns / np.linalg.norm(columns, axis=0)
    return unit


def _match(affine: Affine) -> tuple[int, int, int]:
    """Return for each patient axis (x, y, z) the source axis that runs along it best."""
    cosines = np.abs(_directions(affine))
    x, y, z = max(
        permutations(range(3)),
        key=lambda sources: sum(cosines[p, s] for p, s in enumerate(sources)),
    )
    return x, y, z


def _plane(
    name: str,
    normal: int,
    row: tuple[int, float],
    col: tuple[int, float],
    volume: tuple[tuple[int, int, int], Affine],
) -> Plane:
    shape, affine = volume
    directions, sources = _directions(affine), _match(affine)
    row_axis, col_axis = sources[row[0]], sources[col[0]]
    row_flip = bool(directions[row[0], row_axis] * row[1] < 0)
    col_flip = bool(directions[col[0], col_axis] * col[1] < 0)
    down = directions[:, row_axis] * (-1 if row_flip else 1)
    right = directions[:, col_axis] * (-1 if col_flip else 1)
    ends = {"top": -down, "bottom": down, "left": -right, "right": right}
    letters = {side: side_letters(direction) for side, direction in ends.items()}
    return Plane(
        name,
        sources[normal],
        row_axis,
        row_flip,
        col_axis,
        col_flip,
        shape,
        spacing_of(affine),
        letters,
    )
