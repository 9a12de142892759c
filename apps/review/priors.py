"""Scans to compare a CT with: those of the same patient first, others by a search."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from math import inf
from pathlib import Path, PurePosixPath
from typing import Any

import pydicom

from apps.review.access import case_of
from apps.review.names import nameless
from medvit.errors import ReadError
from medvit.io.case import Case
from medvit.io.dicom.header import read_header
from medvit.io.dicom.values import PARSE_ERRORS
from medvit.store.rows import CaseFilter, CaseRow
from medvit.store.store import Store

MOST_READ = 60
"""Cases whose first file is looked at for the patient; reading one takes about a millisecond."""

MOST_SHOWN = 20
READABLE = ("accept", "repair")


@dataclass(frozen=True, slots=True)
class OtherScan:
    """A scan that can stand beside the one on the desk.

    Attributes:
        name: Its source, or what stands for it where names are hidden.
        same_patient: Whether both name the same patient; the name itself goes nowhere.
        days: From the scan on the desk to this one, negative for a prior; None when a
            date is missing, or the patient is another.
    """

    case_id: str
    name: str
    same_patient: bool
    days: int | None

    def as_data(self) -> dict[str, Any]:
        """Return it as the viewer takes it."""
        return {
            "id": self.case_id,
            "name": self.name,
            "samePatient": self.same_patient,
            "days": self.days,
        }


def find_others(
    store: Store, case: Case, *, text: str = "", names: bool = False
) -> list[OtherScan]:
    """Return scans to compare with: of the same patient, the nearest in time first, then others.

    Args:
        store: Searched for them.
        case: The scan on the desk.
        text: Searched in sources and case ids of all cases; without one, those that lie
            in the same folder as the case, or in the folder above, are looked at.
        names: Whether sources, which may name patients, are told and searched by `text`.
    """
    found: dict[str, CaseRow] = {}
    for wanted in [text] if text else _folders_of(case):
        sought = CaseFilter(text=wanted, kind="ct", names=names or not text)
        rows, _ = store.list_cases(sought, limit=MOST_READ)
        found |= {row.case_id: row for row in rows if row.verdict in READABLE}
    found.pop(case.case_id, None)
    patient, day = patient_of(case), study_day(case)
    looked_at = list(found.values())[:MOST_READ]
    others = [_other(row, patient, day, names=names) for row in looked_at]
    return sorted(others, key=_rank)[:MOST_SHOWN]


def patient_of(case: Case) -> str:
    """Return the hash that tells the patient of a DICOM case; empty where none is named."""
    try:
        return read_header(case.files[0]).patient_hash if case.series_uid else ""
    except ReadError:
        return ""


def study_day(case: Case) -> date | None:
    """Return the day a DICOM case was taken; None where its first file does not say."""
    return _day_in(case.files[0]) if case.series_uid else None


def _day_in(path: Path) -> date | None:
    tags = ["AcquisitionDate", "SeriesDate", "StudyDate"]
    try:
        found = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(tags), force=True)
        texts = [str(found.get(tag, "") or "") for tag in tags]
        return next((datetime.strptime(text, "%Y%m%d").date() for text in texts if text), None)
    except (OSError, *PARSE_ERRORS):
        return None


def _other(row: CaseRow, patient: str, day: date | None, *, names: bool) -> OtherScan:
    case = case_of(row)
    same = bool(patient) and patient_of(case) == patient
    then = study_day(case) if same and day is not None else None
    days = None if then is None or day is None else (then - day).days
    name = row.source if names else nameless(row)
    return OtherScan(row.case_id, name, same, days)


def _rank(other: OtherScan) -> tuple[bool, bool, float, str]:
    """Sort the same patient first, of it earlier scans, the nearest first; unknown days last."""
    days = inf if other.days is None else other.days
    return (not other.same_patient, days >= 0, abs(days), other.name)


def _folders_of(case: Case) -> list[str]:
    """Return the folders in whose cases a prior is looked for, the nearest first."""
    parents = [str(parent) for parent in PurePosixPath(case.source).parents]
    near = [parent for parent in parents[:2] if parent != "."]
    return [*near, ""]
