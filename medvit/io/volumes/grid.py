"""Where the voxels of a volume file lie, whatever its format: turned to `(z, y, x)` and LPS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medvit.errors import ReadError
from medvit.geometry import Affine
from medvit.io.case import Reason
from medvit.io.dicom.geometry import MIN_SLICES, TILT_TOLERANCE_DEG
from medvit.io.dicom.rules import AIR_MUST_FIT_HU

MOST_COORDINATE_MM = 1e6
"""Farthest a voxel may lie from the origin; beyond, a header is broken, not a patient large."""

MOST_RESCALE = 1e6
"""Largest slope and intercept; HU of any scanner need a thousandth of it."""

SMALLEST_STEP_MM = 1e-6
"""Voxels are larger than this; a nanometre is a broken header, or a unit that was mistaken."""

NOT_HU_HINT = "give the CT in HU; this looks like a label map or a grey image"
WRITE_AGAIN_HINT = "write it again with its orientation"


@dataclass(frozen=True, slots=True, eq=False)
class StoredHeader:
    """What a volume file says of its voxels, in the order of the file.

    Attributes:
        path: The file that errors name.
        lengths: Voxels along the axes of the file, fastest first.
        affine_lps: Index along these axes to LPS mm.
        remarks: What a reader of the file should know besides.
    """

    path: Path
    lengths: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    affine_lps: Affine
    slope: float = 1.0
    intercept: float = 0.0
    remarks: tuple[Reason, ...] = ()

    @property
    def plane_bytes(self) -> int:
        """Bytes of one plane of the file, across its slowest axis."""
        return self.lengths[0] * self.lengths[1] * self.dtype.itemsize

    @property
    def voxel_bytes(self) -> int:
        """Bytes of all voxels."""
        return prod(self.lengths) * self.dtype.itemsize


@dataclass(frozen=True, slots=True, eq=False)
class StoredGrid:
    """The voxels of a file as a straight box in the patient.

    Attributes:
        shape: Voxels along `(z, y, x)` after turning.
        affine_lps: Index `(z, y, x, 1)` to LPS mm after turning.
        axes: For z, y, x: which axis of the file it is.
        is_flipped: For z, y, x: whether it runs against the axis of the file.
    """

    header: StoredHeader
    shape: tuple[int, int, int]
    affine_lps: Affine
    axes: tuple[int, int, int]
    is_flipped: tuple[bool, bool, bool]

    def stored_box(self, box: Sequence[slice]) -> tuple[slice, slice, slice]:
        """Return a `(z, y, x)` box as slices of the axes of the file, slowest first."""
        stored = [slice(0, 0)] * 3
        for axis, part, length, flip in zip(
            self.axes, box, self.shape, self.is_flipped, strict=True
        ):
            stored[2 - axis] = slice(length - part.stop, length - part.start) if flip else part
        return stored[0], stored[1], stored[2]

    def turned(self, block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Turn a block from the order of the file, slowest axis first, to `(z, y, x)`."""
        steps = tuple(slice(None, None, -1 if flip else 1) for flip in self.is_flipped)
        return np.ascontiguousarray(block.transpose([2 - axis for axis in self.axes])[steps])


def three_lengths(path: Path, lengths: Sequence[int]) -> tuple[int, int, int]:
    """Return the three axes of a volume, fastest first, without trailing axes of one voxel.

    Raises:
        ReadError: If there are more or fewer axes, or too few slices.
    """
    axes = [int(length) for length in lengths]
    while len(axes) > 3 and axes[-1] == 1:
        axes.pop()
    shown = " x ".join(map(str, axes[:8])) or "none"
    if len(axes) != 3 or min(axes) < 1:
        msg = f"{path.name}: axes of {shown} voxels are not a volume with three axes"
        raise ReadError(msg, reason="wrong_dimensions", hint="split it into single volumes")
    if min(axes) < MIN_SLICES:
        msg = f"{path.name}: axes of {shown} voxels have fewer than {MIN_SLICES} slices"
        raise ReadError(msg, reason="too_few_slices", hint="export the whole volume")
    return axes[0], axes[1], axes[2]


def grid_of(header: StoredHeader, *, is_mask: bool = False) -> StoredGrid:
    """Return the grid of a header: a straight box, z upward, y to the back, x to the left.

    Args:
        is_mask: Whether voxels are labels, which need not reach down to air.

    Raises:
        ReadError: If the axes are not at right angles, or voxels cannot be HU by type.
    """
    _check_straight(header)
    _check_type(header)
    if not is_mask:
        _check_reach(header)
    axes, is_flipped = _way_to_lps(header.affine_lps)
    affine = np.eye(4)
    affine[:3, 3] = header.affine_lps[:3, 3]
    for column, (axis, flip) in enumerate(zip(axes, is_flipped, strict=True)):
        step = header.affine_lps[:3, axis]
        affine[:3, column] = -step if flip else step
        if flip:
            affine[:3, 3] += step * (header.lengths[axis] - 1)
    shape = (header.lengths[axes[0]], header.lengths[axes[1]], header.lengths[axes[2]])
    return StoredGrid(header, shape, affine, axes, is_flipped)


def _way_to_lps(affine: Affine) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Return, for z, y, x, the axis of the file nearest to it and whether it runs against it.

    The axis that is nearest to one of the patient's chooses first.
    """
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    axis_of, flip_of = [0, 0, 0], [False, False, False]
    free = [0, 1, 2]
    for axis in np.argsort(-np.abs(cosines).max(axis=0), kind="stable"):
        patient = max(free, key=lambda row: abs(cosines[row, axis]))
        free.remove(patient)
        axis_of[patient], flip_of[patient] = int(axis), bool(cosines[patient, axis] < 0)
    return (axis_of[2], axis_of[1], axis_of[0]), (flip_of[2], flip_of[1], flip_of[0])


def check_bounded(path: Path, affine: Affine) -> None:
    """Refuse an affine with numbers that are none, or farther away than any patient is long.

    Raises:
        ReadError: `bad_value`.
    """
    # Written so that a number that is none fails.
    if not np.abs(affine[:3]).max() <= MOST_COORDINATE_MM:
        raise _no_box(path, affine)


def _no_box(path: Path, affine: Affine) -> ReadError:
    msg = f"{path.name}: voxel axes {affine[:3].tolist()} are no box in space"
    return ReadError(msg, reason="bad_value", hint=WRITE_AGAIN_HINT)


def _check_straight(header: StoredHeader) -> None:
    name, affine = header.path.name, header.affine_lps
    check_bounded(header.path, affine)
    lengths_mm = np.linalg.norm(affine[:3, :3], axis=0)
    farthest_mm = lengths_mm @ np.asarray(header.lengths, np.float64)
    if not (lengths_mm.min() > SMALLEST_STEP_MM and farthest_mm <= MOST_COORDINATE_MM):
        raise _no_box(header.path, affine)
    cosines = affine[:3, :3] / lengths_mm
    worst = float(np.abs(cosines.T @ cosines - np.eye(3)).max())
    if worst > np.sin(np.radians(TILT_TOLERANCE_DEG)):
        angle_deg = float(np.degrees(np.arcsin(min(worst, 1.0))))
        msg = f"{name}: axes are {angle_deg:.1f} degrees off right angles"
        raise ReadError(msg, reason="gantry_tilt", hint="resample the volume without tilt")


def _check_type(header: StoredHeader) -> None:
    name, dtype = header.path.name, header.dtype
    if dtype.kind not in "iuf":
        msg = f"{name}: voxels of type {dtype} are not single grey values"
        raise ReadError(msg, reason="not_hu", hint="convert to int16 HU")
    largest = np.abs([header.slope, header.intercept]).max()
    if not (largest <= MOST_RESCALE and header.slope != 0):
        msg = f"{name}: slope {header.slope} and intercept {header.intercept} give no values"
        raise ReadError(msg, reason="bad_value", hint="write it again")


def _check_reach(header: StoredHeader) -> None:
    name, dtype = header.path.name, header.dtype
    if dtype.kind == "f":
        return
    bits = 8 * dtype.itemsize
    limits = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if dtype.kind == "i" else (0, 2**bits)
    lowest = min(limit * header.slope for limit in limits) + header.intercept
    if lowest > AIR_MUST_FIT_HU:
        msg = f"{name}: {dtype} voxels reach down to {lowest:g}, CT needs air near -1000 HU"
        raise ReadError(msg, reason="not_hu", hint=NOT_HU_HINT)
