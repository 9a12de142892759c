"""Order, spacing and straightness of a stack of DICOM slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medvit.geometry import Affine, affine_from
from medvit.io.case import Reason
from medvit.io.dicom_header import SliceHeader

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


@dataclass(frozen=True, slots=True)
class Stack:
    """Slices in spatial order and the line through their first pixels.

    Attributes:
        headers: By increasing position along the normal.
        along_mm: Position of each slice along the normal.
        step_mm: Best mean way from slice to slice, LPS.
        origin_mm: Where the line puts the first slice, LPS.
        off_line_mm: How far each slice lies from its place on the line, LPS.
    """

    headers: tuple[SliceHeader, ...]
    along_mm: Points
    step_mm: Points
    origin_mm: Points
    normal: Points
    off_line_mm: Points


def stack_slices(headers: Sequence[SliceHeader]) -> Stack:
    """Order slices by position along the normal of the first one.

    Raises:
        ValueError: If a slice has no position or orientation.
    """
    normal = normal_of(headers[0])
    places = np.array([_position(header) for header in headers])
    order = np.argsort(places @ normal, kind="stable")
    places = places[order]
    numbers = np.arange(len(places)) - (len(places) - 1) / 2
    spread = float(numbers @ numbers) or 1.0
    # Rounded to a picometre: positions such as 3 * 0.1 leave noise in the last digits.
    step = np.round(numbers @ places / spread, 9)
    grid = places.mean(axis=0) + numbers[:, None] * step
    return Stack(
        headers=tuple(headers[index] for index in order),
        along_mm=places @ normal,
        step_mm=step,
        origin_mm=grid[0],
        normal=normal,
        off_line_mm=places - grid,
    )


def normal_of(header: SliceHeader) -> Points:
    """Return row direction cross column direction, of unit length."""
    along_row, along_column = _directions(header)
    normal: Points = np.cross(along_row, along_column)
    return normal / np.linalg.norm(normal)


def affine_of(stack: Stack) -> Affine:
    """Return the affine of a stack, with any tilt kept as a sheared z step."""
    header = stack.headers[0]
    if header.placement.pixel_spacing_mm is None:
        msg = f"{header.path.name}: the slice has no pixel spacing"
        raise ValueError(msg)
    along_row, along_column = _directions(header)
    row_mm, column_mm = header.placement.pixel_spacing_mm
    return affine_from(
        stack.origin_mm.tolist(),
        stack.step_mm.tolist(),
        (along_column * row_mm).tolist(),
        (along_row * column_mm).tolist(),
    )


def judge_stack(stack: Stack) -> tuple[Reason, ...]:
    """Return every way in which a stack is not a straight, evenly spaced box."""
    gaps = np.diff(stack.along_mm)
    found = [_duplicates(stack, gaps), _too_few(stack, gaps)]
    if len(gaps) > 0 and gaps.min() > DUPLICATE_TOLERANCE_MM:
        found += [_tilt(stack), _gaps(stack, gaps) or _off_line(stack)]
    return tuple(reason for reason in found if reason is not None)


def _too_few(stack: Stack, gaps: Points) -> Reason | None:
    distinct = 1 + int((gaps > DUPLICATE_TOLERANCE_MM).sum())
    if distinct >= MIN_SLICES:
        return None
    name = stack.headers[0].path.name
    msg = (
        f"{name}: a volume needs at least {MIN_SLICES} slices at different positions, "
        f"found {distinct}; add the missing files"
    )
    return Reason("too_few_slices", msg)


def _duplicates(stack: Stack, gaps: Points) -> Reason | None:
    same = np.flatnonzero(gaps <= DUPLICATE_TOLERANCE_MM)
    if len(same) == 0:
        return None
    first, second = stack.headers[same[0]], stack.headers[same[0] + 1]
    place = f"{first.path.name} and {second.path.name} share {stack.along_mm[same[0]]:.2f} mm"
    if first.kernel != second.kernel:
        msg = f"{place} but were reconstructed differently; separate the two reconstructions"
        return Reason("mixed_series", msg)
    is_repeat = first.acquisition != second.acquisition
    msg = (
        f"{place} along the normal ({len(same)} such pairs"
        f"{', of repeated acquisitions' if is_repeat else ''}); keep one of each"
    )
    return Reason("duplicate_positions", msg)


def _tilt(stack: Stack) -> Reason | None:
    along = float(stack.step_mm @ stack.normal)
    aside = float(np.linalg.norm(stack.step_mm - along * stack.normal))
    angle_deg = float(np.degrees(np.arctan2(aside, along)))
    if angle_deg <= TILT_TOLERANCE_DEG:
        return None
    msg = (
        f"{stack.headers[0].path.name}: slices follow each other at {angle_deg:.1f} degrees "
        f"to their normal (at most {TILT_TOLERANCE_DEG}); resample the series without tilt"
    )
    return Reason("gantry_tilt", msg)


def _tolerance_mm(step_mm: float) -> float:
    return SPACING_TOLERANCE_MM + SPACING_TOLERANCE_RATIO * step_mm


def _gaps(stack: Stack, gaps: Points) -> Reason | None:
    along = stack.off_line_mm @ stack.normal
    if np.abs(along).max() <= _tolerance_mm(float(stack.step_mm @ stack.normal)):
        return None
    smallest = float(gaps.min())
    steps = np.rint(gaps / smallest)
    widest = int(gaps.argmax())
    place = f"between {stack.headers[widest].path.name} and {stack.headers[widest + 1].path.name}"
    if np.abs(gaps - steps * smallest).max() <= _tolerance_mm(smallest):
        msg = (
            f"{int(steps.sum()) - len(gaps)} slice(s) missing: gap of {gaps.max():.3f} mm {place} "
            f"where others are {smallest:.3f} mm; add the missing files"
        )
        return Reason("missing_slices", msg)
    msg = (
        f"gaps between slices vary from {smallest:.3f} to {gaps.max():.3f} mm, the widest "
        f"{place}; resample the series evenly"
    )
    return Reason("uneven_spacing", msg)


def _off_line(stack: Stack) -> Reason | None:
    along = stack.off_line_mm @ stack.normal
    aside = np.linalg.norm(stack.off_line_mm - along[:, None] * stack.normal, axis=1)
    if aside.max() <= _tolerance_mm(float(stack.step_mm @ stack.normal)):
        return None
    header = stack.headers[int(aside.argmax())]
    msg = (
        f"{header.path.name}: the slice lies {aside.max():.2f} mm off the line through the others; "
        "check that all files belong to one acquisition"
    )
    return Reason("uneven_spacing", msg)


def _directions(header: SliceHeader) -> tuple[Points, Points]:
    if header.placement.orientation is None:
        msg = f"{header.path.name}: the slice has no orientation"
        raise ValueError(msg)
    cosines = np.asarray(header.placement.orientation, dtype=np.float64)
    return cosines[:3], cosines[3:]


def _position(header: SliceHeader) -> tuple[float, float, float]:
    if header.placement.position_mm is None:
        msg = f"{header.path.name}: the slice has no position"
        raise ValueError(msg)
    return header.placement.position_mm
