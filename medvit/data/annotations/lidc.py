"""LIDC-IDRI: DICOM series, and the contours of four readers in one XML file a series.

A contour runs along the first pixels outside the nodule (Armato et al. 2011, Med Phys 38:915),
so that a nodule is what lies inside, without contours and holes. Its diameter is that of a
sphere of the same volume: to eight digits what LUNA16's tables hold for single readers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from medvit.data.annotated import UNMEASURED_DIAMETER_MM
from medvit.data.annotations.agreement import LEAST_READERS, ReaderMark, agree
from medvit.data.annotations.collected import (
    Collected,
    SourcedMark,
    by_name,
    cases_below,
    patients_of,
    refuse,
)
from medvit.data.annotations.contours import Contour, SlicePlaces, measure
from medvit.errors import InputError
from medvit.geometry import spacing_of
from medvit.io.case import Case
from medvit.io.dicom.series import plan_of, read_series

CT_MESSAGE = "LidcReadMessage"
"""Root of the files on CT; those on radiographs have another."""

NODULE, NOT_A_NODULE = "unblindedReadNodule", "nonNodule"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DrawnMark:
    """What a reader drew: the contours of a nodule, or a point."""

    reader: int
    contours: tuple[Contour, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One XML file: the marks of all readers of one series."""

    file: Path
    series_uid: str
    readers: int
    marks: tuple[DrawnMark, ...]


def collect_lidc(root: Path, *, annotations: Path | None = None) -> Collected:
    """Read DICOM series and what their readers drew.

    Series without a file of contours are left out: nobody said what is in them.

    Args:
        annotations: Folder of the XML files; by default the same.

    Raises:
        InputError: If a file breaks a rule, two are of one series, or there is none.
        ReadError: If a series with contours cannot be read.
    """
    readings = _readings(annotations or root)
    cases = by_name(cases_below(root))
    read = {name: case for name, case in cases.items() if name in readings}
    if len(read) < len(cases):
        _log.warning("%d of %d series have no contours", len(cases) - len(read), len(cases))
    nodules: list[SourcedMark] = []
    ignored: list[SourcedMark] = []
    for name, case in read.items():
        for mark, is_nodule in _findings(readings[name], case):
            (nodules if is_nodule else ignored).append(mark)
    absent = [
        f"{reading.file.name}: series {name}"
        for name, reading in readings.items()
        if name not in cases
    ]
    return Collected(read, nodules, ignored, patients_of(read), absent=absent)


def _readings(folder: Path) -> dict[str, Reading]:
    readings: dict[str, Reading] = {}
    faults = []
    for file in sorted(folder.rglob("*.xml")):
        reading = read_contours(file)
        if reading is None:
            continue
        other = readings.setdefault(reading.series_uid, reading)
        if other is not reading:
            faults.append(f"{file.name} and {other.file.name} are of one series")
        if reading.readers < LEAST_READERS:
            faults.append(f"{file.name}: {reading.readers} readers, {LEAST_READERS} must agree")
    refuse(faults, hint="keep one file of all four readers for each series")
    if not readings:
        msg = f"{folder}: no file of LIDC contours (XML with {CT_MESSAGE}) in it"
        raise InputError(msg, hint="name their folder as data.annotated.annotations")
    return readings


def read_contours(file: Path) -> Reading | None:
    """Return what is in an XML file; None for one that is of no CT.

    Raises:
        InputError: If it cannot be parsed, or an element or number is missing.
    """
    try:
        root = ElementTree.parse(file).getroot()
        space, _, name = root.tag.rpartition("}")
        if name != CT_MESSAGE:
            return None
        find = _Find(f"{space}}}" if space else "")
        sessions = root.findall(find.path("readingSession"))
        marks = [
            mark
            for reader, session in enumerate(sessions, start=1)
            for mark in _marks_of(session, find, reader=reader, file=file)
        ]
        header = root.find(find.path("ResponseHeader"))
        uid = "" if header is None else find.text(header, "SeriesInstanceUid")
        return Reading(file, uid, len(sessions), tuple(marks))
    except (OSError, ElementTree.ParseError, ValueError) as error:
        msg = f"{file.name}: not a readable file of contours ({error})"
        raise InputError(msg, hint="download it again") from error


@dataclass(frozen=True, slots=True)
class _Find:
    """Finds elements of one name space."""

    space: str

    def path(self, name: str) -> str:
        return self.space + name

    def text(self, element: ElementTree.Element, name: str) -> str:
        found = element.find(self.path(name))
        if found is None or not (found.text or "").strip():
            msg = f"no {name} in {element.tag.rpartition('}')[2]}"
            raise ValueError(msg)
        return (found.text or "").strip()


def _marks_of(
    session: ElementTree.Element, find: _Find, *, reader: int, file: Path
) -> Iterator[DrawnMark]:
    for nodule in session.findall(find.path(NODULE)):
        source = f"{file.name}, reader {reader}, nodule {find.text(nodule, 'noduleID')}"
        contours = [_contour(roi, find, "edgeMap") for roi in nodule.findall(find.path("roi"))]
        if not contours:
            msg = f"no roi in {source}"
            raise ValueError(msg)
        yield DrawnMark(reader, tuple(contours), source)
    for other in session.findall(find.path(NOT_A_NODULE)):
        source = f"{file.name}, reader {reader}, {find.text(other, 'nonNoduleID')}"
        yield DrawnMark(reader, (_contour(other, find, "locus"),), source)


def _contour(roi: ElementTree.Element, find: _Find, points_name: str) -> Contour:
    points = [
        (int(find.text(point, "xCoord")), int(find.text(point, "yCoord")))
        for point in roi.findall(find.path(points_name))
    ]
    if not points:
        msg = f"no {points_name} in {roi.tag.rpartition('}')[2]}"
        raise ValueError(msg)
    inclusion = roi.find(find.path("inclusion"))
    is_hole = inclusion is not None and (inclusion.text or "").strip().upper() == "FALSE"
    z_mm = float(find.text(roi, "imageZposition"))
    if not np.isfinite(z_mm):
        msg = f"imageZposition must be a finite number, got {z_mm}"
        raise ValueError(msg)
    return Contour(find.text(roi, "imageSOP_UID"), z_mm, is_hole, np.array(points, dtype=np.intp))


def _findings(reading: Reading, case: Case) -> Iterator[tuple[SourcedMark, bool]]:
    """Yield what the readers marked, and whether enough of them call it a nodule."""
    places = SlicePlaces(
        {header.sop_uid: header for header in read_series(case.files)},
        spacing_of(plan_of(case.files).affine_lps)[0],
    )
    drawn: list[ReaderMark] = []
    for mark in reading.marks:
        found = measure(mark.contours, places)
        if found.volume_mm3:
            drawn.append(
                ReaderMark(mark.reader, (*found.centre_mm, found.diameter_mm), mark.source)
            )
        else:
            point = (*found.centre_mm, UNMEASURED_DIAMETER_MM)
            yield SourcedMark(reading.series_uid, point, mark.source), False
    for agreed in agree(drawn):
        yield SourcedMark(reading.series_uid, agreed.xyzd_mm, agreed.source), agreed.is_nodule
