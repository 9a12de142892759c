"""Accept, repair or refuse: what a case is worth before any model sees it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medvit.errors import ReadError
from medvit.geometry import Affine, Triple, spacing_of
from medvit.io.case import Case, Reason, Verdict
from medvit.io.dicom_geometry import Stack, affine_of
from medvit.io.dicom_header import SliceHeader, read_header
from medvit.io.dicom_rules import judge_series, remarks_on, signedness_repairs
from medvit.io.nifti import judge_nifti
from medvit.io.os_errors import unreadable
from medvit.io.raster import inspect_image
from medvit.io.sniff import SNIFF_BYTES, claims_dicom, has_mark, is_nifti_name, starts_like_dicom


@dataclass(frozen=True, slots=True, eq=False)
class Triage:
    """The judgement of one case.

    Attributes:
        verdict: `accept`, `repair` (readable after a change that is named) or `refuse`.
        reasons: The most specific first; `ok` alone for a sound case.
        shape: `(z, y, x)`; `(1, y, x)` for an image; None when refused.
        spacing_mm: Along `(z, y, x)`; None when refused and for images.
        affine_lps: Index to LPS mm; None when refused and for images.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...]
    shape: tuple[int, int, int] | None = None
    spacing_mm: Triple | None = None
    affine_lps: Affine | None = None


def triage(case: Case) -> Triage:
    """Judge a case by its headers; never raises for what a file holds."""
    try:
        if case.kind == "image":
            return _of_image(case.files[0])
        if is_nifti_name(case.files[0]):
            return _of_nifti(case.files[0])
        return _of_dicom(case)
    except ReadError as error:
        return refused(error)
    except OSError as error:
        return refused(unreadable(case.files[0], error))


def refused(error: ReadError) -> Triage:
    """Return the judgement that a reading error amounts to."""
    message = f"{error.message}; {error.hint}" if error.hint else error.message
    return Triage("refuse", (Reason(error.reason, message),))


def read_series(case: Case) -> list[SliceHeader]:
    """Return the headers of all files of a case.

    Raises:
        ReadError: If one file cannot be opened or is not DICOM.
    """
    for path in case.files:
        _check_is_dicom(path)
    return [read_header(path) for path in case.files]


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


def _of_dicom(case: Case) -> Triage:
    headers = read_series(case)
    reasons, stack = judge_series(headers)
    if reasons or stack is None:
        return Triage("refuse", reasons)
    repairs, remarks = signedness_repairs(headers), remarks_on(headers)
    return _readable(_shape_of(stack), affine_of(stack), repairs, remarks)


def _shape_of(stack: Stack) -> tuple[int, int, int]:
    layout = stack.headers[0].layout
    return len(stack.headers), layout.rows, layout.columns


def _of_nifti(path: Path) -> Triage:
    grid = judge_nifti(path)
    return _readable(grid.shape, grid.affine_lps, (), ())


def _of_image(path: Path) -> Triage:
    look = inspect_image(path)
    return Triage("accept", _or_ok(()), (1, look.height, look.width))


def _readable(
    shape: tuple[int, int, int],
    affine: Affine,
    repairs: tuple[Reason, ...],
    remarks: tuple[Reason, ...],
) -> Triage:
    verdict: Verdict = "repair" if repairs else "accept"
    return Triage(verdict, _or_ok(repairs + remarks), shape, spacing_of(affine), affine)


def _or_ok(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    return reasons or (Reason("ok", "nothing wrong was found"),)
