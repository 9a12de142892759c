"""Tables of marks as CSV: each line is checked, and each fault is named by its line."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from medvit.data.annotated import UNMEASURED_DIAMETER_MM
from medvit.data.annotations.collected import refuse
from medvit.errors import InputError

SERIES, PATIENT, DIAMETER = "seriesuid", "patient", "diameter_mm"
FILE_COLUMNS = ("path", "file")
COORDINATES = ("coordX", "coordY", "coordZ")
NUMBERS = (*COORDINATES, DIAMETER)

NOT_MEASURED = -1.0
"""How LUNA16's list of excluded findings writes a diameter that nobody measured."""

MOST_DIAMETER_MM = 300.0
"""No lesion of a chest is larger; a number above it is in another unit."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MarkRow:
    """One line of a table.

    Attributes:
        line: Its number, from 1.
        scan: Series UID; empty where the table has none.
        file: Path or file name; empty where the table has none.
        patient: As written; empty where the table has none.
        xyzd_mm: As written, x and y turned if the table is in RAS; None for a line that names
            a scan and nothing else: it was read, and nothing was found.
    """

    line: int
    scan: str
    file: str
    patient: str
    xyzd_mm: tuple[float, float, float, float] | None


@dataclass(frozen=True, slots=True)
class MarkTable:
    """How a table is to be read.

    Attributes:
        file: The table.
        may_be_unmeasured: Whether a diameter of -1 is a position without a diameter.
        is_ras: Whether x and y grow to the right and to the front of the patient.
    """

    file: Path
    may_be_unmeasured: bool = False
    is_ras: bool = False

    def rows(self) -> tuple[MarkRow, ...]:
        """Return all lines.

        Raises:
            InputError: If the file, a column or a number is missing or breaks a rule; names
                the lines.
        """
        lines = read_lines(self.file)
        header = next(lines, (1, []))[1]
        columns = _columns(self.file, header, needed=NUMBERS)
        if not {SERIES, *FILE_COLUMNS} & columns.keys():
            msg = f"{self.file.name}: a column seriesuid, path or file is missing, found {header}"
            raise InputError(msg, hint="say on each line which scan it belongs to")
        rows: list[MarkRow] = []
        faults: list[str] = []
        for line, cells in lines:
            row = self._row(line, columns, cells, width=len(header))
            if isinstance(row, MarkRow):
                rows.append(row)
            else:
                faults.append(f"{self.file.name}, line {line}: {row}")
        if not self.may_be_unmeasured:
            faults += [f"{self.file.name}, {fault}" for fault in _repeated(rows)]
        refuse(faults, hint=f"correct these lines of {self.file.name}")
        return tuple(rows)

    def _row(
        self, line: int, columns: dict[str, int], cells: Sequence[str], *, width: int
    ) -> MarkRow | str:
        """Return a row, or what is wrong with it."""
        if len(cells) != width:
            return f"{len(cells)} cells under {width} columns"
        cell = {name: cells[at].strip() for name, at in columns.items()}
        scan = cell.get(SERIES, "")
        file = next((cell[name] for name in FILE_COLUMNS if cell.get(name)), "")
        if not scan and not file:
            return "names no scan"
        found = self._numbers([cell[name] for name in NUMBERS])
        if isinstance(found, str):
            return found
        return MarkRow(line, scan, file, cell.get(PATIENT, ""), found)

    def _numbers(self, cells: Sequence[str]) -> tuple[float, float, float, float] | str | None:
        if not any(cells):
            return None
        values = []
        for name, text in zip(NUMBERS, cells, strict=True):
            value = _finite(text)
            if value is None:
                return f"{name} must be a finite number, got {text!r}"
            values.append(value)
        x, y, z, diameter = values
        if self.may_be_unmeasured and diameter == NOT_MEASURED:
            diameter = UNMEASURED_DIAMETER_MM
        if not 0 < diameter <= MOST_DIAMETER_MM:
            return f"{DIAMETER} must lie above 0 and up to {MOST_DIAMETER_MM:g}, got {diameter:g}"
        turn = -1.0 if self.is_ras else 1.0
        return turn * x, turn * y, z, diameter


def read_patients(file: Path) -> dict[str, str]:
    """Return patients by series UID, of a table `seriesuid,patient`.

    Raises:
        InputError: If the file or a column is missing, a line is incomplete, or a scan is
            given two patients.
    """
    lines = read_lines(file)
    header = next(lines, (1, []))[1]
    columns = _columns(file, header, needed=(SERIES, PATIENT))
    patients: dict[str, str] = {}
    faults = []
    for line, cells in lines:
        scan, patient = (
            cells[columns[name]].strip() if columns[name] < len(cells) else ""
            for name in (SERIES, PATIENT)
        )
        if not scan or not patient:
            faults.append(f"{file.name}, line {line}: names no scan, or no patient")
        elif patients.setdefault(scan, patient) != patient:
            faults.append(f"{file.name}, line {line}: scan {scan} has another patient above")
    refuse(faults, hint=f"correct these lines of {file.name}")
    return patients


def read_lines(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of every line that is not empty.

    Raises:
        InputError: If the file cannot be read as text.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{file}: cannot be read as text ({error})"
        raise InputError(msg, hint="check the path; a table is a CSV in UTF-8") from error
    reader = csv.reader(text.splitlines())
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def _columns(file: Path, header: Sequence[str], *, needed: Sequence[str]) -> dict[str, int]:
    """Return where the known columns are; others are named in the log and passed over."""
    names = [name.strip() for name in header]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"{file.name}, line 1: column {twice[0]!r} is there twice"
        raise InputError(msg, hint="rename or remove one")
    for name in needed:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            msg = f"{file.name}, line 1: column {name!r} is missing, found {names}"
            meant = f"is {near[0]!r} meant? " if near else ""
            raise InputError(msg, hint=f"{meant}The heading is {','.join((SERIES, *NUMBERS))}")
    known = {SERIES, PATIENT, *FILE_COLUMNS, *needed}
    others = [name for name in names if name not in known]
    if others:
        _log.info("%s: columns %s are not used", file.name, ", ".join(others))
    return {name: at for at, name in enumerate(names) if name in known}


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _repeated(rows: Sequence[MarkRow]) -> Iterator[str]:
    first: dict[object, int] = {}
    for row in rows:
        if row.xyzd_mm is None:
            continue
        place = (row.scan, row.file, *(round(value, 3) for value in row.xyzd_mm[:3]))
        if first.setdefault(place, row.line) != row.line:
            yield f"line {row.line}: is at the place of line {first[place]}"
