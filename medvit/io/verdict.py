"""The judgement of one case, and the few ways to arrive at it."""

from __future__ import annotations

from dataclasses import dataclass

from medvit.errors import ReadError
from medvit.geometry import Affine, Triple, spacing_of
from medvit.io.case import Reason, Verdict


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
) -> Triage:
    """Return the judgement of a case that can be read.

    Args:
        shape: As the reader will give it, after repairs.
        affine: None for an image.
        repairs: What is changed on reading; any of them makes the verdict `repair`.
        remarks: What a reader should know besides.
    """
    verdict: Verdict = "repair" if repairs else "accept"
    reasons = repairs + remarks or (Reason("ok", "nothing wrong was found"),)
    return Triage(verdict, reasons, shape, None if affine is None else spacing_of(affine), affine)
