"""What a format of annotations gives: cases, whose they are, and marks with their sources."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medvit.errors import InputError
from medvit.io.case import Case
from medvit.io.dicom.header import read_header
from medvit.io.discover import discover
from medvit.io.volumes.formats import is_volume_file

MOST_NAMED = 5
"""Faults that a message names; the others are counted."""

PACKED_ENDING = ".gz"


@dataclass(frozen=True, slots=True)
class SourcedMark:
    """A finding and where it was read.

    Attributes:
        scan: Name of the scan.
        xyzd_mm: Centre x, y, z in LPS mm, and diameter, above 0.
        source: File and line, or file and finding: what a message names.
    """

    scan: str
    xyzd_mm: tuple[float, float, float, float]
    source: str


@dataclass(frozen=True, slots=True)
class Collected:
    """All that a format says.

    Attributes:
        cases: By the name of the scan: those that somebody read.
        patients: By the name of the scan; a name that is not here is its own patient.
        nodules: What is to be found.
        ignored: What counts neither way.
        fold_of: Folds that the data set itself has; empty when it has none.
        is_typed: Whether coordinates were typed into a table, where RAS and LPS are mixed up;
            those that come from voxels cannot be.
        absent: Sources of findings whose scan is not here.
    """

    cases: Mapping[str, Case]
    nodules: Sequence[SourcedMark]
    ignored: Sequence[SourcedMark] = ()
    patients: Mapping[str, str] = field(default_factory=dict)
    fold_of: Mapping[str, int] = field(default_factory=dict)
    is_typed: bool = False
    absent: Sequence[str] = ()


def refuse(faults: Sequence[str], *, hint: str) -> None:
    """Name the first faults and count the others; do nothing when there are none.

    Raises:
        InputError: If there is a fault.
    """
    if faults:
        more = len(faults) - MOST_NAMED
        named = "; ".join(faults[:MOST_NAMED])
        raise InputError(named + (f"; and {more} more" if more > 0 else ""), hint=hint)


def patient_key(patient: str) -> str:
    """Return a name for a patient that does not say who it is; headers of DICOM give the same.

    Examples:
        >>> patient_key("LIDC-IDRI-0001")
        '3bb5d67ab461'
    """
    return hashlib.sha256(patient.encode()).hexdigest()[:12]


def name_of(case: Case) -> str:
    """Return the series UID of a case, or the stem of its file."""
    if case.series_uid:
        return case.series_uid
    name = case.files[0].name
    name = name[: -len(PACKED_ENDING)] if name.lower().endswith(PACKED_ENDING) else name
    return Path(name).stem


def cases_below(folder: Path) -> tuple[Case, ...]:
    """Return every CT below a folder.

    Raises:
        InputError: If there is no such folder, or no CT in it.
    """
    cases = tuple(case for case in discover(folder).cases if case.kind == "ct")
    if not cases:
        msg = f"{folder}: no CT series or volume in it"
        raise InputError(msg, hint="give the folder of the scans as data.root")
    return cases


def patients_of(cases: Mapping[str, Case]) -> dict[str, str]:
    """Return what tells patients apart, of the DICOM series that say whose they are."""
    hashes = {
        name: read_header(case.files[0]).patient_hash
        for name, case in cases.items()
        if not is_volume_file(case.files[0])
    }
    return {name: patient for name, patient in hashes.items() if patient}


def by_name(cases: Iterable[Case]) -> dict[str, Case]:
    """Return cases by their names.

    Raises:
        InputError: If two have the same name.
    """
    named: dict[str, Case] = {}
    faults = []
    for case in cases:
        name = name_of(case)
        if name in named:
            faults.append(f"scan {name} is there twice: {named[name].source} and {case.source}")
        named[name] = case
    refuse(faults, hint="remove or rename one of each two")
    return named
