"""Any scans with a table of centres and diameters: LUNA16's columns, and a file or patient.

A scan counts as read when the table names it; a line with a scan and no numbers says that
nothing was found in it. Scans that no line names are left out: nobody said that they are
free of nodules.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from medvit.data.annotations.collected import (
    Collected,
    SourcedMark,
    by_name,
    cases_below,
    patient_key,
    patients_of,
    refuse,
)
from medvit.data.annotations.table import MarkRow, MarkTable
from medvit.io.case import Case

ANNOTATIONS = "annotations.csv"

_log = logging.getLogger(__name__)


def collect_centres(
    root: Path,
    *,
    annotations: Path | None = None,
    excluded: Path | None = None,
    is_ras: bool = False,
) -> Collected:
    """Read scans of any format and a table of their nodules.

    Args:
        annotations: By default `annotations.csv` in the folder. A line names its scan by
            `seriesuid` (the stem of the file where there is none), or by `path` or `file`:
            relative to the folder, or the mere name.
        excluded: A table of findings that count neither way; -1 for an unknown diameter.

    Raises:
        InputError: If a file is missing, or a line or name breaks a rule.
    """
    file = annotations or root / ANNOTATIONS
    rows = MarkTable(file, is_ras=is_ras).rows()
    ignored = (
        ()
        if excluded is None
        else MarkTable(excluded, may_be_unmeasured=True, is_ras=is_ras).rows()
    )
    cases = by_name(cases_below(root))
    index = _index(cases)
    names = _names(rows, index, file)
    read = {name: cases[name] for name in names if name in cases}
    if len(read) < len(cases):
        left = len(cases) - len(read)
        _log.warning("%s: %d of %d scans are on no line and left out", file.name, left, len(cases))
    return Collected(
        cases=read,
        nodules=tuple(_marks(rows, names, file)),
        ignored=()
        if excluded is None
        else tuple(_marks(ignored, _names(ignored, index, excluded), excluded)),
        patients=patients_of(read) | _patients(rows, names, file),
        is_typed=True,
    )


def _index(cases: Mapping[str, Case]) -> Mapping[str, set[str]]:
    """Return the names of the scans that a word may mean."""
    index: dict[str, set[str]] = defaultdict(set)
    for name, case in cases.items():
        words = {name, case.source, Path(case.source).name}
        if len(case.files) == 1:
            words.add(case.files[0].name)
        for word in words:
            index[word].add(name)
    return index


def _names(rows: Sequence[MarkRow], index: Mapping[str, set[str]], file: Path) -> tuple[str, ...]:
    """Return the name of the scan of each row; what is known of no scan, as it is written."""
    names, faults = [], []
    for row in rows:
        word = row.scan if row.scan in index or not row.file else row.file
        found = sorted(index.get(word, {word}))
        if len(found) > 1:
            faults.append(f"{file.name}, line {row.line}: {word!r} means {len(found)} scans")
        names.append(found[0])
    refuse(faults, hint="name each scan by its series UID, or by its path in the folder")
    return tuple(names)


def _marks(rows: Sequence[MarkRow], names: Sequence[str], file: Path) -> Iterator[SourcedMark]:
    for name, row in zip(names, rows, strict=True):
        if row.xyzd_mm is not None:
            yield SourcedMark(name, row.xyzd_mm, f"{file.name}, line {row.line}")


def _patients(rows: Sequence[MarkRow], names: Sequence[str], file: Path) -> dict[str, str]:
    patients: dict[str, str] = {}
    faults = []
    for name, row in zip(names, rows, strict=True):
        key = patient_key(row.patient)
        if row.patient and patients.setdefault(name, key) != key:
            faults.append(f"{file.name}, line {row.line}: scan {name} has another patient above")
    refuse(faults, hint=f"correct these lines of {file.name}")
    return patients
