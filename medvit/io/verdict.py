"""The judgement of one case, and the few ways to arrive at it."""

from __future__ import annotations

from dataclasses import dataclass

from medvit.errors import ReadError
from medvit.geometry import Affine, Triple, spacing_of
from medvit.io.case import Reason, Verdict


@dataclass(frozen=True, slots=True)
class SourceSlice:
    """The DICOM slice that a slice of a volume is, or lies nearest to.

    Attributes:
        file: Its name without folders.
        frame: Number of the frame in a multi-frame file, from 0.
        instance_number: As the scanner counted; None when it did not.
    """

    file: str
    frame: int
    instance_number: int | None


@dataclass(frozen=True, slots=True)
class Repair:
    """What is changed when a case is read, for machines; the reasons say it to people.

    Attributes:
        methods: What is done, in the order of the reasons.
        dropped: Files (and frames) that are copies of others and left out.
        tilt_deg: Angle between the way from slice to slice and the normal, as found.
        gaps_mm: Smallest and widest distance of slices along the normal, as found.
        source_slices: For each slice of the repaired volume.
    """

    methods: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    tilt_deg: float = 0.0
    gaps_mm: tuple[float, float] | None = None
    source_slices: tuple[SourceSlice, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Triage:
    """The judgement of one case.

    Attributes:
        verdict: `accept`, `repair` (readable after a change that is named) or `refuse`.
        reasons: The most specific first; `ok` alone for a sound case.
        shape: `(z, y, x)`; `(1, y, x)` for an image; None when refused.
        spacing_mm: Along `(z, y, x)`; None when refused and for images.
        affine_lps: Index to LPS mm; None when refused and for images.
        repair: Facts about the repair of a DICOM series; None for any other case.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...]
    shape: tuple[int, int, int] | None = None
    spacing_mm: Triple | None = None
    affine_lps: Affine | None = None
    repair: Repair | None = None


def refused(error: ReadError) -> Triage:
    """Return the judgement that a reading error amounts to."""
    message = f"{error.message}; {error.hint}" if error.hint else error.message
    return Triage("refuse", (Reason(error.reason, message),))


def readable(
    shape: tuple[int, int, int],
    affine: Affine | None = None,
    *,
    repairs: tuple[Reason, ...] = (),
    remarks: tuple[Reason, ...] = (),
    repair: Repair | None = None,
) -> Triage:
    """Return the judgement of a case that can be read.

    Args:
        shape: As the reader will give it, after repairs.
        affine: None for an image.
        repairs: What is changed on reading; any of them makes the verdict `repair`.
        remarks: What a reader should know besides.
        repair: Facts about the repairs.
    """
    verdict: Verdict = "repair" if repairs else "accept"
    reasons = repairs + remarks or (Reason("ok", "nothing wrong was found"),)
    spacing_mm = None if affine is None else spacing_of(affine)
    return Triage(verdict, reasons, shape, spacing_mm, affine, repair)
