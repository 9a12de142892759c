"""Whether marks lie where nodules can lie: in their scan, and on something in its lungs.

Coordinates that were typed in RAS although LPS is meant have x and y turned. In a chest that
lies around the origin they still fall into the scan, and most of them into the other lung: so
it is also asked whether there is more than air.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvit.data.annotations.collected import SourcedMark, refuse
from medvit.errors import InputError
from medvit.geometry import Affine, lps_to_index
from medvit.volume.lungs import LungMap, find_lungs
from medvit.volume.pyramid import Pyramid
from medvit.volume.volume import Volume

Points = NDArray[np.float64]
Inside = Callable[[Points], NDArray[np.bool_]]

TURNED = np.array([-1.0, -1.0, 1.0])
LEAST_MARKS, FEWER = 3, 2
"""Coordinates are taken for turned when at least 3 marks lie where none should, and no more than
half as many once x and y are turned. Of 37 nodules of made chests none lay outside of the lungs
or on air as given, and 28 when turned."""

LUNG_SCANS = 12
"""Scans whose lungs are looked for: the ones with most nodules."""

LUNG_LEVEL_MM, NODULE_LEVEL_MM = 2.0, 1.0
"""Voxels that lungs, and what a mark lies on, are seen on as well as on finer ones."""

DENSER_HU, CORE_SHARE = 100.0, 0.7
"""The inner part of a nodule is denser than the mean of the lungs by this much."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outside:
    """How many marks lie outside of something, as given and with x and y turned."""

    as_given: int
    turned: int
    marks: int

    def looks_turned(self) -> bool:
        """Whether turning puts most of the marks that are outside to where they belong."""
        return self.as_given >= LEAST_MARKS and FEWER * self.turned <= self.as_given

    def __add__(self, other: Outside) -> Outside:
        """Return the counts of both together."""
        return Outside(
            self.as_given + other.as_given, self.turned + other.turned, self.marks + other.marks
        )

    def __str__(self) -> str:
        """Return both shares as people read them."""
        return (
            f"{self.as_given} of {self.marks} ({self.as_given / self.marks:.0%}) as given, "
            f"{self.turned} ({self.turned / self.marks:.0%}) with x and y turned"
        )


NONE = Outside(0, 0, 0)


def count_outside(points: Points, inside: Inside) -> Outside:
    """Count points (n, 3) in LPS mm that are outside, as they are and turned."""
    given, turned = inside(points), inside(points * TURNED)
    return Outside(int((~given).sum()), int((~turned).sum()), len(points))


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Where the voxels of a scan lie: `Volume.shape` and `Volume.affine_lps`."""

    shape: tuple[int, int, int]
    affine_lps: Affine


def in_frame(frame: Frame) -> Inside:
    """Return a test of points: whether they lie in a voxel of a scan."""

    def inside(points: Points) -> NDArray[np.bool_]:
        index = lps_to_index(frame.affine_lps, points)
        half = 0.5 + 1e-6
        return np.asarray(
            np.all((index >= -half) & (index <= np.array(frame.shape) - 1 + half), axis=-1)
        )

    return inside


def outside_marks(
    marks: Sequence[SourcedMark], frames: Mapping[str, Frame]
) -> tuple[tuple[SourcedMark, ...], Outside]:
    """Return the marks outside of their scans, and what turning would do to all of them.

    Args:
        marks: Findings.
        frames: Of their scans, by name.
    """
    found: list[SourcedMark] = []
    counts = NONE
    for name, own in by_scan(marks).items():
        inside = in_frame(frames[name])
        points = points_of(own)
        counts += count_outside(points, inside)
        found += [own[at] for at in np.flatnonzero(~inside(points)).tolist()]
    return tuple(found), counts


def check_lungs(nodules: Sequence[SourcedMark], pyramid_of: Callable[[str], Pyramid]) -> None:
    """Refuse nodules that miss the lungs, or lie on air, and would not with x and y turned.

    Args:
        nodules: Of scans that can be read; a few scans are looked at.
        pyramid_of: Opens a scan by its name.

    Raises:
        InputError: If the nodules look turned; names both shares.
    """
    marks = by_scan(nodules)
    counts, scans = NONE, 0
    for name in sorted(marks, key=lambda name: (-len(marks[name]), name))[:LUNG_SCANS]:
        pyramid = pyramid_of(name)
        lungs = find_lungs(pyramid.level_for(LUNG_LEVEL_MM))
        if not lungs.flagged:
            radii = [CORE_SHARE * mark.xyzd_mm[3] / 2 for mark in marks[name]]
            inside = on_lung_tissue(pyramid.level_for(NODULE_LEVEL_MM), lungs, radii)
            counts += count_outside(points_of(marks[name]), inside)
            scans += 1
    if counts.looks_turned():
        refuse_turned(f"outside of the lungs or on mere air, in {scans} scans looked at,", counts)
    if counts.marks and counts.as_given > counts.marks / 2:
        _log.warning("outside of the lungs or on mere air, in %d scans, lie %s", scans, counts)


def on_lung_tissue(volume: Volume, lungs: LungMap, radii_mm: Sequence[float]) -> Inside:
    """Return a test of points: whether they lie in the lungs, on more than air.

    Args:
        volume: The scan.
        lungs: Of the scan.
        radii_mm: How far around each point is looked.
    """
    region = lungs.region()

    def inside(points: Points) -> NDArray[np.bool_]:
        found = region.contains(points)
        for at in np.flatnonzero(found).tolist():
            hu = mean_hu(volume, points[at], radii_mm[at])
            found[at] = hu > lungs.mean_hu + DENSER_HU
        return found

    return inside


def mean_hu(volume: Volume, centre_mm: Points, radius_mm: float) -> float:
    """Return the mean in a ball around a point (3,) in LPS mm; NaN outside of the volume."""
    index = lps_to_index(volume.affine_lps, centre_mm)
    reach = radius_mm / np.array(volume.spacing_mm)
    low = np.maximum(np.floor(index - reach), 0).astype(int)
    high = np.minimum(np.ceil(index + reach) + 1, volume.shape).astype(int)
    if (high <= low).any():
        return float("nan")
    z, y, x = (slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    hu = volume.read(z, y, x)
    axes = np.ogrid[z, y, x]
    away_mm2 = sum(
        ((axis - at) * step) ** 2
        for axis, at, step in zip(axes, index, volume.spacing_mm, strict=True)
    )
    return float(hu[away_mm2 <= max(radius_mm**2, float(np.min(away_mm2)))].mean())


def refuse_turned(where: str, counts: Outside) -> None:
    """Say that coordinates look turned.

    Raises:
        InputError: Always.
    """
    msg = f"coordinates must be LPS mm, these look like RAS: {where} lie {counts}"
    raise InputError(msg, hint="set data.annotated.coordinates=ras if the table is in RAS")


def refuse_outside(marks: Sequence[SourcedMark], counts: Outside) -> None:
    """Name the nodules that lie outside of their scans; do nothing when there are none.

    Raises:
        InputError: If there are some.
    """
    faults = [
        f"{mark.source}: ({', '.join(f'{value:.1f}' for value in mark.xyzd_mm[:3])}) "
        "lies outside of its scan"
        for mark in marks
    ]
    hint = "coordinates are LPS mm; data.annotated.unmatched=drop leaves such marks out"
    if counts.turned < counts.as_given:
        hint = f"outside lie {counts}: is it RAS? then coordinates=ras; {hint}"
    refuse(faults, hint=hint)


def by_scan(marks: Sequence[SourcedMark]) -> dict[str, list[SourcedMark]]:
    """Return marks by their scan."""
    found: dict[str, list[SourcedMark]] = defaultdict(list)
    for mark in marks:
        found[mark.scan].append(mark)
    return dict(found)


def points_of(marks: Sequence[SourcedMark]) -> Points:
    """Return centres (n, 3) in LPS mm."""
    return np.array([mark.xyzd_mm[:3] for mark in marks], dtype=np.float64).reshape(-1, 3)
