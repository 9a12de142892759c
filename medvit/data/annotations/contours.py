"""Contours that readers drew on slices, measured: the centre and size of what they enclose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import polygon_perimeter

from medvit.errors import InputError
from medvit.geometry import affine_from, index_to_lps
from medvit.io.dicom.header import SliceHeader

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """One closed line on one slice.

    Attributes:
        sop_uid: Of the slice.
        z_mm: Where the reader saw the slice; used when it is not there.
        is_hole: Whether it encloses what does not belong.
        points: (n, 2) columns and rows, along the first pixels outside.
    """

    sop_uid: str
    z_mm: float
    is_hole: bool
    points: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Measured:
    """What contours enclose: its centre (x, y, z) in LPS mm and volume; 0 for a mere point."""

    centre_mm: tuple[float, float, float]
    volume_mm3: float

    @property
    def diameter_mm(self) -> float:
        """Diameter of a sphere of the same volume."""
        return float((6 * self.volume_mm3 / np.pi) ** (1 / 3))


@dataclass(frozen=True, slots=True, eq=False)
class SlicePlaces:
    """Where the pixels of a series lie in the patient.

    Attributes:
        headers: Of its slices, by their SOP instance UIDs.
        step_mm: Distance of neighbouring slices.
    """

    headers: dict[str, SliceHeader]
    step_mm: float

    def lps_mm(self, contour: Contour, columns_rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points (n, 3) in LPS mm of pixels (n, 2) on the slice of a contour.

        Raises:
            InputError: If the slice is not there and the series is not axial.
        """
        header = self.headers.get(contour.sop_uid)
        place = (header or next(iter(self.headers.values()))).placement
        if place.position_mm is None or place.orientation is None or place.pixel_spacing_mm is None:
            msg = f"series of slice {contour.sop_uid}: it is not said where its pixels lie"
            raise InputError(msg, hint="export the series again, with positions")
        x, y, z = place.position_mm
        if header is None:
            if not np.allclose(place.orientation, AXIAL, atol=1e-4):
                msg = f"slice {contour.sop_uid} is not there, and its series is not axial"
                raise InputError(msg, hint="get the whole series")
            z = contour.z_mm
        row_mm, column_mm = place.pixel_spacing_mm
        along = np.array(place.orientation)
        normal = np.cross(along[:3], along[3:])
        affine = affine_from(
            (x, y, z),
            normal.tolist(),
            (along[3:] * row_mm).tolist(),
            (along[:3] * column_mm).tolist(),
        )
        index = np.column_stack([np.zeros(len(columns_rows)), columns_rows[:, ::-1]])
        return index_to_lps(affine, index)

    def voxel_mm3(self) -> float:
        """Return the volume that a pixel stands for; `lps_mm` was asked before."""
        spacing = next(iter(self.headers.values())).placement.pixel_spacing_mm or (0.0, 0.0)
        return spacing[0] * spacing[1] * self.step_mm


def measure(contours: Sequence[Contour], places: SlicePlaces) -> Measured:
    """Return the centre and volume of what contours enclose on all slices together.

    Where no pixel is enclosed, as for a single point, the centre is that of the points.

    Args:
        contours: At least one, each of at least one point.
        places: Of the series they were drawn on.
    """
    voxels, centres = [], []
    for sop_uid in dict.fromkeys(contour.sop_uid for contour in contours):
        own = [contour for contour in contours if contour.sop_uid == sop_uid]
        inside = enclosed(own)
        if len(inside):
            voxels.append(places.lps_mm(own[0], inside))
        centres += [places.lps_mm(contour, contour.points.astype(float)) for contour in own]
    points = np.concatenate(voxels or centres)
    x, y, z = points.mean(axis=0).tolist()
    volume_mm3 = sum(map(len, voxels)) * places.voxel_mm3()
    return Measured((x, y, z), volume_mm3)


def enclosed(contours: Sequence[Contour]) -> NDArray[np.float64]:
    """Return the pixels (n, 2), columns and rows, that lie inside contours of one slice.

    A contour itself lies outside, and so does a hole with its contour.
    """
    corner = np.min([contour.points.min(axis=0) for contour in contours], axis=0)
    size = np.max([contour.points.max(axis=0) for contour in contours], axis=0) - corner + 1
    inside = np.zeros(size, dtype=bool)
    holes = np.zeros(size, dtype=bool)
    for contour in contours:
        line = np.zeros(size, dtype=bool)
        points = contour.points - corner
        line[points[:, 0], points[:, 1]] = True
        if len(points) > 1:
            line[polygon_perimeter(points[:, 0], points[:, 1], shape=tuple(size))] = True
        filled = ndimage.binary_fill_holes(line)
        if contour.is_hole:
            holes |= filled
        else:
            inside |= filled & ~line
    return np.asarray(np.argwhere(inside & ~holes) + corner, dtype=np.float64)
