"""How a stack of DICOM slices can fail to be a straight, even box, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from medvit.io.case import Reason
from medvit.io.dicom.geometry import (
    MIN_SLICES,
    TILT_TOLERANCE_DEG,
    Points,
    Stack,
    name_of,
    tolerance_mm,
)

MAX_TILT_DEG = 30.0
"""Largest tilt that is sheared back: gantries reach no further, so more is a wrong header."""

MAX_GAP_MM = 3.0
"""Widest gap that is interpolated when gaps are uneven: a nodule of 3 mm, the smallest that
is measured, cannot lie between two slices that are no further apart, unseen by both."""

MAX_GAP_RATIO = 4.0
"""Largest ratio of the widest to the smallest gap that is interpolated."""

ABSENT_RATIO = 1.75
"""A gap this many times the median is a place where slices are absent, when such are few."""

HALF = 0.51
"""The share of the median gap that counts as half: the steps may be 1 % longer than wanted."""

SPARE_STEP = 0.01
"""The share of a step that may be missing at the end before one more is made."""

FEW = 0.25
"""The share of gaps that counts as few."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a series.

    Attributes:
        fact: What was found, with file names and figures.
        remedy: What is done about it on reading; empty when nothing can be.
        way_out: What a person can do about it.
    """

    code: str
    fact: str
    remedy: str
    way_out: str

    @property
    def as_repair(self) -> Reason:
        """Return the fault of a series that is read, with what was done."""
        return Reason(self.code, f"{self.fact}; {self.remedy}")

    @property
    def as_refusal(self) -> Reason:
        """Return the fault of a series that is not read, with what to do."""
        return Reason(self.code, f"{self.fact}; {self.way_out}")


def judge_stack(stack: Stack) -> tuple[Fault, ...]:
    """Return every way in which slices at different places are no straight, even box."""
    if len(stack.headers) < MIN_SLICES:
        return (_too_few(stack),)
    found = (tilt_of(stack), uneven_gaps_of(stack), _off_line(stack))
    return tuple(fault for fault in found if fault is not None)


def tilt_of(stack: Stack) -> Fault | None:
    """Return the fault of slices that follow each other askew."""
    angle_deg = stack.tilt_deg
    if angle_deg <= TILT_TOLERANCE_DEG:
        return None
    along_mm = stack.spacing_mm
    fact = (
        f"{name_of(stack.headers[0])}: slices follow each other at {angle_deg:.1f} degrees to "
        f"their normal, {along_mm / np.cos(np.radians(angle_deg)):.3f} mm from position to "
        f"position and {along_mm:.3f} mm along the normal"
    )
    remedy = (
        "sheared back: every slice is moved within its plane by linear interpolation, "
        f"the slice distance is {along_mm:.3f} mm, what lies outside is air"
    )
    if angle_deg > MAX_TILT_DEG:
        return Fault(
            "gantry_tilt", f"{fact} (at most {MAX_TILT_DEG:g} degrees)", "", "check the positions"
        )
    return Fault("gantry_tilt", fact, remedy, "resample the series without tilt")


def uneven_gaps_of(stack: Stack) -> Fault | None:
    """Return the fault of slices that are absent, or not evenly spaced along the normal."""
    if np.abs(stack.off_grid_mm).max() <= tolerance_mm(stack.spacing_mm):
        return None
    gaps = stack.gaps_mm
    absent = _absent_slices(gaps)
    widest = int(gaps.argmax())
    place = f"between {name_of(stack.headers[widest])} and {name_of(stack.headers[widest + 1])}"
    if absent is not None:
        base_mm, counts = absent
        fact = (
            f"{int(counts.sum())} slice(s) missing in {int((counts > 0).sum())} place(s): gap of "
            f"{gaps.max():.3f} mm {place} where others are {base_mm:.3f} mm"
        )
        return Fault("missing_slices", fact, "", "add the missing files")
    fact = (
        f"gaps between slices vary from {gaps.min():.3f} to {gaps.max():.3f} mm, the widest {place}"
    )
    if gaps.max() > MAX_GAP_MM or gaps.max() > MAX_GAP_RATIO * gaps.min():
        limit = f"at most {MAX_GAP_MM:g} mm and {MAX_GAP_RATIO:g} times the smallest"
        return Fault("uneven_spacing", f"{fact} ({limit} can be interpolated)", "", _EVEN_OUT)
    heights = even_heights(stack)
    remedy = (
        f"resampled by linear interpolation between slices to {len(heights)} slices every "
        f"{heights[1] - heights[0]:.3f} mm"
    )
    return Fault("uneven_spacing", fact, remedy, _EVEN_OUT)


_EVEN_OUT = "reconstruct the series with one slice distance"


def even_heights(stack: Stack) -> Points:
    """Return evenly spaced places along the normal from the first slice to the last.

    They are as far apart as the median gap, or a little less so that both ends are met; as
    the smallest gap when that is no more than half of the median. So between the neighbours
    of every slice there is a place: none is skipped.
    """
    gaps = stack.gaps_mm
    median = float(np.median(gaps))
    wanted = float(gaps.min()) if gaps.min() <= HALF * median else median
    count = max(1, ceil(float(gaps.sum()) / wanted - SPARE_STEP))
    return np.linspace(stack.along_mm[0], stack.along_mm[-1], count + 1)


def _absent_slices(gaps: Points) -> tuple[float, Points] | None:
    """Return the regular gap and how many slices each gap lacks; None when none is absent."""
    smallest = float(gaps.min())
    steps = np.rint(gaps / smallest)
    are_multiples = np.abs(gaps - steps * smallest).max() <= tolerance_mm(smallest)
    if are_multiples and steps.max() > 1 and (steps == 1).mean() >= 0.5:
        return smallest, steps - 1
    median = float(np.median(gaps))
    is_wide = gaps >= ABSENT_RATIO * median
    if is_wide.any() and is_wide.mean() <= FEW:
        return median, np.where(is_wide, np.rint(gaps / median) - 1, 0)
    return None


def _too_few(stack: Stack) -> Fault:
    fact = (
        f"{name_of(stack.headers[0])}: a volume needs at least {MIN_SLICES} slices at different "
        f"positions, found {len(stack.headers)}"
    )
    return Fault("too_few_slices", fact, "", "add the missing files")


def _off_line(stack: Stack) -> Fault | None:
    aside = stack.off_line_mm
    if aside.max() <= tolerance_mm(stack.spacing_mm):
        return None
    name = name_of(stack.headers[int(aside.argmax())])
    fact = f"{name}: the slice lies {aside.max():.2f} mm off the line through the others"
    return Fault("uneven_spacing", fact, "", "check that all files belong to one acquisition")
