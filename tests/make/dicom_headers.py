"""Slice headers without files, for rules that look at nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medvit.io.dicom.geometry import Stack, stack_slices
from medvit.io.dicom.header import PixelLayout, Placement, SliceHeader
from tests.make.dicom import AXIAL

LAYOUT = PixelLayout(16, 12, 1, 1, 16, 16, 15, True, "MONOCHROME2", 900, 912, 384)

Point = tuple[float, float, float]


def header(
    position_mm: Point | None,
    *,
    orientation: tuple[float, ...] | None = AXIAL,
    name: str = "a.dcm",
    frame: int = 0,
    frames: int = 1,
    **changes: Any,
) -> SliceHeader:
    """Return the header of a sound slice of 16x12 pixels of 0.7x0.5 mm, with changes."""
    sound = SliceHeader(
        path=Path(name),
        frame=frame,
        file_bytes=2000,
        patient_hash="",
        study_uid="1.1",
        series_uid="1.2",
        sop_uid="1.2.3",
        sop_class="1.2.840.10008.5.1.4.1.1.2",
        instance_number=None,
        modality="CT",
        image_type=(),
        layout=replace(LAYOUT, frames=frames),
        placement=Placement(position_mm, orientation, (0.7, 0.5), "1.9"),
        slope=1.0,
        intercept=-1024.0,
        rescale_type="HU",
        transfer_syntax="1.2.840.10008.1.2.1",
        kernel="",
        acquisition="1",
        is_lossy=False,
        is_burned_in=False,
        has_meta=True,
        bad_values=(),
    )
    return replace(sound, **changes)


def stack_at(
    heights_mm: Sequence[float], *, shift_x: float = 0.0, shift_y: float = 0.0, **changes: Any
) -> Stack:
    """Return axial slices at these heights, `0.dcm` on; a shift is for each mm of height."""
    return stack_slices(
        [
            header((shift_x * z_mm, shift_y * z_mm, z_mm), name=f"{number}.dcm", **changes)
            for number, z_mm in enumerate(heights_mm)
        ]
    )
