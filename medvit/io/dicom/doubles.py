"""Slices at one position: copies that can be left out, or contradictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medvit.io.dicom.geometry import (
    DUPLICATE_TOLERANCE_MM,
    MIN_SLICES,
    SPACING_TOLERANCE_MM,
    name_of,
    normal_of,
    stack_slices,
)
from medvit.io.dicom.header import SliceHeader
from medvit.io.dicom.stack_rules import Fault

NAMES_SHOWN = 3
"""File names that one message lists."""

Values = npt.NDArray[np.float64]
SliceReader = Callable[[SliceHeader], Values]


@dataclass(frozen=True, slots=True)
class Doubles:
    """Slices by position, one of each chosen.

    Attributes:
        kept: One slice of each position, the first by file name.
        dropped: The others.
        fault: What the others are; None when there are none.
    """

    kept: tuple[SliceHeader, ...]
    dropped: tuple[SliceHeader, ...]
    fault: Fault | None


def find_doubles(headers: Sequence[SliceHeader], read: SliceReader) -> Doubles:
    """Choose one slice of each position and compare the others with it.

    Args:
        headers: Slices of one series with one orientation and size.
        read: Returns the HU of a slice, of all its pixels; called for slices that share
            a position, until two differ.

    Raises:
        ReadError: If the pixels of such a slice cannot be read.
    """
    groups = _by_position(headers)
    kept = tuple(group[0] for group in groups)
    dropped = tuple(header for group in groups for header in group[1:])
    if not dropped:
        return Doubles(kept, (), None)
    pairs = [(group[0], other) for group in groups for other in group[1:]]
    for number, pair in enumerate(pairs):
        difference = _difference(*pair, read)
        if difference:
            fault = _conflict(groups, pair, difference, are_others_equal=number > 0)
            return Doubles(kept, dropped, fault)
    return Doubles(kept, dropped, _copies(groups, dropped))


def _by_position(headers: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    """Return the slices of each position along the normal, each group by file name."""
    stack = stack_slices(headers)
    groups = [[stack.headers[0]]]
    for header, gap in zip(stack.headers[1:], stack.gaps_mm, strict=True):
        if gap <= DUPLICATE_TOLERANCE_MM:
            groups[-1].append(header)
        else:
            groups.append([header])
    return [sorted(group, key=lambda h: (h.path.as_posix(), h.frame)) for group in groups]


def _difference(one: SliceHeader, other: SliceHeader, read: SliceReader) -> str:
    """Return how two slices at one position differ; empty when one is a copy of the other."""
    stack = stack_slices([one, other])
    aside_mm = float(np.linalg.norm(stack.aside_mm[1]))
    if not aside_mm <= SPACING_TOLERANCE_MM:
        return f"lie {aside_mm:.2f} mm apart within the plane"
    off_hu = np.abs(read(one) - read(other))
    if not off_hu.any():
        return ""
    return f"differ in {np.count_nonzero(off_hu)} pixels by up to {off_hu.max():g} HU"


def _copies(groups: list[list[SliceHeader]], dropped: tuple[SliceHeader, ...]) -> Fault:
    doubled = [group for group in groups if len(group) > 1]
    first = doubled[0]
    names = ", ".join(map(name_of, dropped[:NAMES_SHOWN]))
    more = f" and {len(dropped) - NAMES_SHOWN} more" if len(dropped) > NAMES_SHOWN else ""
    names_shared = f"{name_of(first[0])} and {name_of(first[1])}"
    fact = (
        f"{names_shared} share {_height(first[0]):.2f} mm along the normal "
        f"({len(doubled)} of {len(groups)} positions are held more than once)"
    )
    remedy = f"their HU are equal in every pixel, so the copies are left out: {names}{more}"
    return Fault("duplicate_positions", fact, remedy, "keep one of each")


def _conflict(
    groups: list[list[SliceHeader]],
    pair: tuple[SliceHeader, SliceHeader],
    difference: str,
    *,
    are_others_equal: bool,
) -> Fault:
    one, other = pair
    doubled = sum(len(group) > 1 for group in groups)
    apart = _told_apart_by(one, other)
    fact = (
        f"{name_of(one)} and {name_of(other)} share {_height(one):.2f} mm along the normal and "
        f"{difference} ({doubled} of {len(groups)} positions are held more than once)"
    )
    if len(groups) >= MIN_SLICES and doubled >= len(groups) / 2 and not are_others_equal:
        way_out = f"two acquisitions or reconstructions in one series: separate them by {apart}"
        return Fault("mixed_series", fact, "", way_out)
    return Fault("duplicate_positions", fact, "", f"keep one of each, told apart by {apart}")


def _told_apart_by(one: SliceHeader, other: SliceHeader) -> str:
    """Return the tags in which two slices differ, with their values."""
    tags = {
        "ConvolutionKernel": (one.kernel, other.kernel),
        "AcquisitionNumber": (one.acquisition, other.acquisition),
        "ImageType": ("\\".join(one.image_type), "\\".join(other.image_type)),
        "InstanceNumber": (one.instance_number, other.instance_number),
    }
    found = [f"{tag} {a!r} and {b!r}" for tag, (a, b) in tags.items() if a != b]
    return ", ".join(found) or "their files: no tag that is read differs"


def _height(header: SliceHeader) -> float:
    return float(np.dot(header.placement.position_mm or (np.nan,) * 3, normal_of(header)))
