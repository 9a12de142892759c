"""A series of DICOM slices: judged, and opened as a volume that decodes what it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medvit.errors import ReadError
from medvit.io.dicom_geometry import Stack, affine_of
from medvit.io.dicom_header import SliceHeader, read_headers
from medvit.io.dicom_pixels import read_stored
from medvit.io.dicom_rules import judge_series, remarks_on, signedness_repairs
from medvit.io.os_errors import unreadable
from medvit.io.planes import CACHE_BYTES, PlaneCache, rescale_into
from medvit.io.sniff import SNIFF_BYTES, claims_dicom, has_mark, starts_like_dicom
from medvit.io.verdict import Triage, readable
from medvit.volume.volume import Hu, SliceOrigin, Volume


def judge_dicom(files: Sequence[Path]) -> Triage:
    """Judge the files of one series together.

    Raises:
        ReadError: If one file cannot be opened or is not DICOM.
    """
    headers = read_series(files)
    reasons, stack = judge_series(headers)
    if reasons or stack is None:
        return Triage("refuse", reasons)
    repairs, remarks = signedness_repairs(headers), remarks_on(headers)
    return readable(_shape_of(stack), affine_of(stack), repairs=repairs, remarks=remarks)


def open_dicom(files: Sequence[Path]) -> Volume:
    """Open the files of one series as a volume.

    Raises:
        ReadError: With the reason, if the series cannot be trusted.
    """
    reasons, stack = judge_series(read_series(files))
    if reasons or stack is None:
        raise ReadError(reasons[0].message, reason=reasons[0].code)
    return open_stack(stack)


def read_series(files: Sequence[Path]) -> list[SliceHeader]:
    """Return the headers of all slices in the files of a series.

    Raises:
        ReadError: If one file cannot be opened or is not DICOM.
    """
    for path in files:
        _check_is_dicom(path)
    return [header for path in files for header in read_headers(path)]


def open_stack(stack: Stack, *, cache_bytes: int = CACHE_BYTES) -> Volume:
    """Return a volume over slices that triage found regular.

    Each slice is rescaled by its own slope and intercept. Stored values, not HU,
    are kept between reads, at most `cache_bytes` of them.
    """
    headers = stack.headers
    planes = PlaneCache(lambda number: read_stored(headers[number]), max_bytes=cache_bytes)

    def read_block(z: slice, y: slice, x: slice) -> Hu:
        hu = np.empty((z.stop - z.start, y.stop - y.start, x.stop - x.start), np.float32)
        for row, number in enumerate(range(z.start, z.stop)):
            header = headers[number]
            slope = 1.0 if header.slope is None else header.slope
            intercept = header.intercept or 0.0
            rescale_into(hu[row], planes.plane(number)[y, x], slope=slope, intercept=intercept)
        return hu

    origins = tuple(map(_origin_of, headers))
    return Volume(_shape_of(stack), affine_of(stack), read_block, origins)


def _shape_of(stack: Stack) -> tuple[int, int, int]:
    layout = stack.headers[0].layout
    return len(stack.headers), layout.rows, layout.columns


def _origin_of(header: SliceHeader) -> SliceOrigin:
    return SliceOrigin(header.path, header.frame, header.sop_uid, header.instance_number)


def _check_is_dicom(path: Path) -> None:
    try:
        with path.open("rb", buffering=0) as file:
            head = file.read(SNIFF_BYTES)
    except OSError as error:
        raise unreadable(path, error) from error
    if has_mark(head) or starts_like_dicom(head):
        return
    what = "is empty" if not head else "does not start like a DICOM file"
    name = "for all its name" if claims_dicom(path) else "and has no known suffix"
    msg = f"{path.name}: {what}, {name}"
    raise ReadError(msg, reason="not_dicom", hint="export it again or leave it out")
