"""How the slices of a DICOM series become a volume, or why they must not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medvit.geometry import Affine, affine_from
from medvit.io.case import Reason
from medvit.io.dicom.blocks import read_slice_hu
from medvit.io.dicom.doubles import SliceReader, find_doubles
from medvit.io.dicom.geometry import Stack, affine_of, name_of, pixel_steps_of, stack_slices
from medvit.io.dicom.header import SliceHeader
from medvit.io.dicom.series_rules import encoding_faults, interleaved, judge_slices, remarks_on
from medvit.io.dicom.stack_rules import (
    Fault,
    even_heights,
    judge_stack,
    tilt_of,
    uneven_gaps_of,
)
from medvit.io.verdict import Repair, SourceSlice
from medvit.volume.straight import StraightBox, straighten


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """How a series becomes a volume.

    Attributes:
        stack: The slices it is made of.
        straight: How they are brought to a straight box; None when they are one.
        shape: Of the volume, `(z, y, x)`; `affine_lps` likewise.
        sources: For each slice of the volume the number of the nearest slice of the stack.
        repairs: What is changed on reading; `remarks` what else a reader should know.
        repair: The facts about the repairs; None without any.
    """

    stack: Stack
    straight: StraightBox | None
    shape: tuple[int, int, int]
    affine_lps: Affine
    sources: tuple[int, ...]
    repairs: tuple[Reason, ...]
    remarks: tuple[Reason, ...]
    repair: Repair | None


def plan_series(
    headers: Sequence[SliceHeader], *, read: SliceReader = read_slice_hu
) -> Plan | tuple[Reason, ...]:
    """Return how slices become a volume, or every reason why they must not.

    Pixels are read only to compare slices at one position. The answer does not depend on
    the order of the slices.

    Raises:
        ReadError: If such pixels cannot be read.
    """
    if not headers:
        return (Reason("missing_data", "a series without files; name those that hold it"),)
    ordered = sorted(headers, key=lambda header: (header.path.as_posix(), header.frame))
    reasons = judge_slices(ordered)
    if reasons:
        return reasons
    doubles = find_doubles(ordered, read)
    stack = stack_slices(doubles.kept)
    mixed = interleaved(stack) if doubles.fault is None else None
    found = (doubles.fault, mixed, *judge_stack(stack), *encoding_faults(ordered))
    faults = [fault for fault in found if fault is not None]
    if not all(fault.remedy for fault in faults):
        by_weight = sorted(faults, key=lambda fault: bool(fault.remedy))
        return tuple(fault.as_refusal for fault in by_weight)
    return _planned(stack, doubles.dropped, faults, remarks_on(stack.headers))


def _planned(
    stack: Stack,
    dropped: tuple[SliceHeader, ...],
    faults: Sequence[Fault],
    remarks: tuple[Reason, ...],
) -> Plan:
    layout = stack.headers[0].layout
    shape, affine = (len(stack.headers), layout.rows, layout.columns), affine_of(stack)
    straight = _straight_box(stack)
    numbers = np.arange(len(stack.headers))
    if straight is not None:
        shape, affine, numbers = straight.shape, _straight_affine(stack, straight), straight.nearest
    sources = tuple(map(int, numbers))
    repair = _facts(stack, sources, dropped, faults) if faults else None
    repairs = tuple(fault.as_repair for fault in faults)
    return Plan(stack, straight, shape, affine, sources, repairs, remarks, repair)


def _straight_box(stack: Stack) -> StraightBox | None:
    """Return how a tilted or uneven stack is resampled; None for any other."""
    is_tilted = tilt_of(stack) is not None
    is_uneven = uneven_gaps_of(stack) is not None
    if not is_tilted and not is_uneven:
        return None
    layout = stack.headers[0].layout
    spacing_mm = np.array(stack.headers[0].placement.pixel_spacing_mm)
    shifts = stack.aside_mm / spacing_mm
    return straighten(
        (layout.rows, layout.columns),
        shifts_px=shifts if is_tilted else np.zeros_like(shifts),
        along_mm=stack.along_mm,
        heights_mm=even_heights(stack) if is_uneven else stack.along_mm,
    )


def _straight_affine(stack: Stack, box: StraightBox) -> Affine:
    """Return where a straight box lies.

    An even stack keeps its mean slice distance and the place of its line along the normal;
    a tilt too small to be sheared back stays in the z step.
    """
    row_step, column_step = pixel_steps_of(stack.headers[0])
    is_uneven = uneven_gaps_of(stack) is not None
    heights = even_heights(stack) if is_uneven else stack.along_mm
    first, step_mm = (
        (heights[0], heights[1] - heights[0])
        if is_uneven
        else (stack.origin_mm @ stack.normal, stack.spacing_mm)
    )
    position = np.array(stack.headers[0].placement.position_mm)
    origin = position + (first - stack.along_mm[0]) * stack.normal
    origin = origin + box.first_px[0] * row_step + box.first_px[1] * column_step
    step = step_mm * stack.normal
    if tilt_of(stack) is None:
        units = [way / np.linalg.norm(way) for way in (row_step, column_step)]
        step = step + step_mm * (stack.drift[0] * units[0] + stack.drift[1] * units[1])
    return affine_from(origin.tolist(), step.tolist(), row_step.tolist(), column_step.tolist())


def _facts(
    stack: Stack,
    sources: tuple[int, ...],
    dropped: tuple[SliceHeader, ...],
    faults: Sequence[Fault],
) -> Repair:
    gaps = stack.gaps_mm
    return Repair(
        methods=tuple(fault.remedy for fault in faults),
        dropped=tuple(map(name_of, dropped)),
        tilt_deg=round(stack.tilt_deg, 3),
        gaps_mm=(round(float(gaps.min()), 4), round(float(gaps.max()), 4)),
        source_slices=tuple(
            SourceSlice(header.path.name, header.frame, header.instance_number)
            for header in (stack.headers[number] for number in sources)
        ),
    )
