"""NIfTI volumes: RAS and x-first on disk, LPS and `(z, y, x)` from here on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from medvit.errors import ReadError
from medvit.io.case import Reason
from medvit.io.dicom.geometry import TILT_TOLERANCE_DEG
from medvit.io.os_errors import unreadable
from medvit.io.volumes.grid import (
    WRITE_AGAIN_HINT,
    StoredGrid,
    StoredHeader,
    check_bounded,
    grid_of,
    three_lengths,
)
from medvit.io.volumes.nifti_header import DTYPES, HEADER_BYTES, Matrix, NiftiFields, read_fields
from medvit.io.volumes.unpacked import GZIP_MARK, Packing, Unpacked
from medvit.io.volumes.voxel_file import Stamp, VoxelFile, stamp_of

MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Length unit codes: none set (mm by common use), metre, mm, micrometre."""

SAME_PLACE_MM = 0.01
"""How far sform and qform may lie apart without a word: single precision leaves less."""

MOST_APART_VOXELS = 0.5
"""How far apart they may put the first voxel, in sides of the smallest, to be taken as one place;
their axes may differ by as much as axes may be off right angles, which a qform cannot express."""

QUATERNION_TOLERANCE = 1e-5
"""By how much b2 + c2 + d2 may exceed 1 through single precision."""

FLOAT32_TOLERANCE = 2.0**-22
"""Largest relative difference of a number and itself in single precision, with room for one more
rounding."""

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_nifti(path: Path, *, is_mask: bool = False) -> tuple[StoredGrid, VoxelFile]:
    """Return the grid and the voxels of a NIfTI-1 or -2 file, or of a pair `.hdr` and `.img`.

    Whether it is compressed is told by its content. sform comes before qform, as the
    standard says; where both are set they must agree.

    Args:
        is_mask: Whether voxels are labels; else they must be able to hold HU.

    Raises:
        ReadError: With the reason, when the header says otherwise.
    """
    with _opened(path) as (stream, packing, stamp):
        fields = read_fields(stream, path)
    lengths = three_lengths(path, fields.lengths)
    affine_ras, remarks = _affine_ras(path, fields, lengths)
    slope, intercept = _rescale(path, fields)
    header = StoredHeader(
        path=path,
        lengths=lengths,
        dtype=_dtype(path, fields),
        affine_lps=RAS_TO_LPS @ affine_ras,
        slope=slope,
        intercept=intercept,
        remarks=remarks,
    )
    offset = _offset(path, fields)
    if not fields.is_single:
        return grid_of(header, is_mask=is_mask), _voxels_beside(path, offset)
    start = (0, offset) if packing else (offset, 0)
    return grid_of(header, is_mask=is_mask), VoxelFile(path, packing, *start, stamp)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Unpacked, Packing, Stamp]]:
    try:
        with path.open("rb") as file:
            packing: Packing = "deflate" if file.read(2) == GZIP_MARK else ""
            file.seek(0)
            yield Unpacked(file, path, packing), packing, stamp_of(file)
    except OSError as error:
        raise unreadable(path, error) from error


def _voxels_beside(path: Path, offset: int) -> VoxelFile:
    for name in (path.with_suffix(".img"), path.with_suffix(".img.gz")):
        if name.exists():
            with _opened(name) as (_, packing, stamp):
                start = (0, offset) if packing else (offset, 0)
                return VoxelFile(name, packing, *start, stamp)
    msg = f"{path.name}: the voxels belong into {path.stem}.img, which is not there"
    raise ReadError(msg, reason="missing_data", hint="copy both files into one folder")


def _dtype(path: Path, fields: NiftiFields) -> np.dtype[np.generic]:
    if fields.data_type not in DTYPES:
        msg = f"{path.name}: data type {fields.data_type} is not one of single grey values"
        raise ReadError(msg, reason="not_hu", hint="convert to int16 HU")
    return np.dtype(f"{fields.byte_order}{DTYPES[fields.data_type]}")


def _offset(path: Path, fields: NiftiFields) -> int:
    least = 4 + HEADER_BYTES[fields.version] if fields.is_single else 0
    if not (least <= fields.offset < 2**63 and fields.offset == int(fields.offset)):
        msg = f"{path.name}: voxels start at byte {fields.offset}, {least} is the least"
        raise ReadError(msg, reason="bad_value", hint="write the volume again")
    return int(fields.offset)


def _rescale(path: Path, fields: NiftiFields) -> tuple[float, float]:
    """Return slope and intercept; a slope of 0 or none means that values are as stored."""
    if fields.slope == 0 or np.isnan(fields.slope):
        return 1.0, 0.0
    return fields.slope, fields.intercept


def _affine_ras(
    path: Path, fields: NiftiFields, lengths: tuple[int, int, int]
) -> tuple[Matrix, tuple[Reason, ...]]:
    """Return the RAS affine in mm, and what is odd about it."""
    if fields.length_unit not in MM_PER_UNIT:
        msg = f"{path.name}: length unit {fields.length_unit} is none of NIfTI's"
        raise ReadError(msg, reason="bad_value", hint="write the volume again, in mm")
    unit_mm = MM_PER_UNIT[fields.length_unit]
    if fields.sform_code > 0:
        sform = _in_mm(path, fields.sform, unit_mm)
        affine, odd = _exact_or_same(path, fields, sform)
        if fields.qform_code > 0:
            odd += _apart(path, sform, _in_mm(path, _qform(path, fields), unit_mm), lengths)
        return affine, odd
    if fields.qform_code > 0:
        return _in_mm(path, _qform(path, fields), unit_mm), ()
    msg = f"{path.name}: neither sform nor qform is set, so left and right are unknown"
    raise ReadError(msg, reason="no_position", hint=WRITE_AGAIN_HINT)


def _qform(path: Path, fields: NiftiFields) -> Matrix:
    """Return the affine of quaternion, spacing and offset (nifti1.h, method 2)."""
    b, c, d = fields.quaternion
    # Looked at before it is squared: a number may be too large for that, or none.
    a2 = 1.0 - (b * b + c * c + d * d) if np.abs(fields.quaternion).max() < 2 else np.nan
    if not a2 >= -QUATERNION_TOLERANCE:
        msg = f"{path.name}: the qform's quaternion {[float(b), float(c), float(d)]} is no rotation"
        raise ReadError(msg, reason="bad_value", hint=WRITE_AGAIN_HINT)
    if a2 < 0:
        b, c, d = fields.quaternion / np.linalg.norm(fields.quaternion)
    a = np.sqrt(max(a2, 0.0))
    affine = np.eye(4)
    affine[:3, :3] = [
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ]
    affine[:3, :3] *= fields.spacing * (1, 1, -1 if fields.handedness < 0 else 1)
    affine[:3, 3] = fields.q_offset
    return affine


def _in_mm(path: Path, affine: Matrix, unit_mm: float) -> Matrix:
    with np.errstate(over="ignore", invalid="ignore"):
        scaled: Matrix = affine * np.array([unit_mm] * 3 + [1.0])[:, None]
    check_bounded(path, scaled)
    return scaled


def _exact_or_same(
    path: Path, fields: NiftiFields, sform: Matrix
) -> tuple[Matrix, tuple[Reason, ...]]:
    """Return medvit's own affine in double precision where it is that of the sform."""
    exact = fields.exact_ras_mm
    if exact is None:
        return sform, ()
    with np.errstate(over="ignore"):
        stored = exact.astype(np.float32)
    if np.isfinite(exact).all() and np.allclose(stored, sform, rtol=FLOAT32_TOLERANCE, atol=0.0):
        return exact, ()
    msg = f"{path.name}: the exact affine beside the sform is of another place and is not used"
    return sform, (Reason("bad_value", msg),)


def _apart(
    path: Path, sform: Matrix, qform: Matrix, lengths: tuple[int, int, int]
) -> tuple[Reason, ...]:
    """Compare two affines: remark on a small difference, refuse a large one.

    Raises:
        ReadError: If they differ by more than rounding and shear can: one of them may
            swap left and right.
    """
    ends = np.asarray(lengths) - 1
    corners = np.array([(*(ends * c), 1.0) for c in np.ndindex(2, 2, 2)])
    apart_mm = np.linalg.norm((corners @ (sform - qform).T)[:, :3], axis=1)
    sides_mm = np.linalg.norm(sform[:3, :3], axis=0)
    turn = float(np.max(np.linalg.norm((sform - qform)[:3, :3], axis=0) / sides_mm.clip(1e-9)))
    is_same_start = apart_mm[0] <= MOST_APART_VOXELS * sides_mm.min()
    if not (is_same_start and turn <= np.sin(np.radians(TILT_TOLERANCE_DEG))):
        msg = f"{path.name}: sform and qform place voxels up to {apart_mm.max():.2f} mm apart"
        hint = "find out which is right and write the volume with that one alone"
        raise ReadError(msg, reason="bad_value", hint=hint)
    if apart_mm.max() <= SAME_PLACE_MM:
        return ()
    msg = f"{path.name}: sform and qform differ by {apart_mm.max():.2f} mm; the sform is used"
    return (Reason("bad_value", msg),)
