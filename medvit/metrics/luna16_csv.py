"""The three tables of LUNA16: marks, annotations and the list of scans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from medvit.errors import InputError
from medvit.metrics.csv_lines import column_of, finite_number, iter_cells
from medvit.metrics.froc_matching import Annotation, Mark

PLACE = ("seriesuid", "coordX", "coordY", "coordZ")

Row = TypeVar("Row", Mark, Annotation, str)


@dataclass(frozen=True, slots=True)
class Table(Generic[Row]):
    """The rows of a file, where each stands, and what is odd about them.

    Attributes:
        file: Its name without folder.
        rows: In the order of the file.
        lines: Number of the line of each row; the heading is line 1.
        notes: Sentences on what is allowed but was hardly meant.
    """

    file: str
    rows: list[Row]
    lines: list[int]
    notes: tuple[str, ...] = ()


def read_mark_table(path: Path) -> Table[Mark]:
    """Read a submission: `seriesuid,coordX,coordY,coordZ,probability`.

    A mark that is there twice counts twice, as the rules have it, and is noted.

    Raises:
        InputError: If the file, a column or a finite number is missing; names the line.
    """
    table = _read(path, "probability", Mark)
    return _with_note(table, *_repeats(table, "mark", "each of them counts"))


def read_annotation_table(path: Path, *, is_excluded: bool = False) -> Table[Annotation]:
    """Read findings: `seriesuid,coordX,coordY,coordZ,diameter_mm`.

    Args:
        is_excluded: Whether they count neither way. Only then may a diameter be negative
            (not measured), and a finding be there twice (two readers).

    Raises:
        InputError: If the file, a column or a finite number is missing, a diameter is not
            positive, or a nodule is there twice; names the line.
    """
    table = _read(path, "diameter_mm", Annotation)
    for row, line in zip(table.rows, table.lines, strict=True):
        if row.diameter_mm == 0 or (row.diameter_mm < 0 and not is_excluded):
            msg = f"{path.name}, line {line}: diameter_mm must be positive, got {row.diameter_mm:g}"
            hint = "findings that were not measured (-1) belong into the file of --excluded"
            raise InputError(msg, hint=hint)
    repeated = [] if is_excluded else _repeats(table, "nodule", "")
    if repeated:
        raise InputError(repeated[0], hint="remove one of the lines; each would count as missed")
    return table


def read_series_table(path: Path) -> Table[str]:
    """Read a list of scans, one UID a line, or a table with a column `seriesuid`.

    Raises:
        InputError: If the file cannot be read or is empty, or a line holds more than a UID.
    """
    found: list[str] = []
    lines: list[int] = []
    column: int | None = None
    for line, cells in iter_cells(path):
        if column is None and PLACE[0] in cells:
            column = cells.index(PLACE[0])
        elif column is None and any(cells[1:]):
            msg = f"{path.name}, line {line}: one series UID is expected, found {cells[:3]}"
            raise InputError(msg, hint="give one UID a line, or name the column seriesuid")
        elif len(cells) > (column or 0) and cells[column or 0]:
            found.append(cells[column or 0])
            lines.append(line)
    if not found:
        msg = f"{path.name}: no series UID in it"
        raise InputError(msg, hint="give a file with one series UID a line")
    twice = [(uid, count) for uid, count in Counter(found).items() if count > 1]
    note = f"{path.name}: series {twice[0][0]} is listed {twice[0][1]} times" if twice else ""
    return Table(path.name, found, lines, (f"{note} and counts once",) if twice else ())


def read_marks(path: Path) -> list[Mark]:
    """Return the rows of `read_mark_table`."""
    return read_mark_table(path).rows


def read_annotations(path: Path, *, is_excluded: bool = False) -> list[Annotation]:
    """Return the rows of `read_annotation_table`."""
    return read_annotation_table(path, is_excluded=is_excluded).rows


def read_series(path: Path) -> list[str]:
    """Return the rows of `read_series_table`."""
    return read_series_table(path).rows


def _read(path: Path, last: str, build: Callable[..., Row]) -> Table[Row]:
    wanted = (*PLACE, last)
    cells = iter_cells(path)
    _, heading = next(cells, (1, []))
    places = [column_of(path, heading, name, wanted) for name in wanted]
    rows: list[Row] = []
    lines: list[int] = []
    for line, row in cells:
        if len(row) > len(heading):
            msg = f"{path.name}, line {line}: {len(heading)} values are expected, found {len(row)}"
            raise InputError(msg, hint="a decimal comma also makes one value too many")
        texts = [row[place] if place < len(row) else None for place in places]
        if not texts[0]:
            msg = f"{path.name}, line {line}: seriesuid must not be empty"
            raise InputError(msg, hint="give the series UID of the scan")
        pairs = zip(wanted[1:], texts[1:], strict=True)
        rows.append(
            build(texts[0], *(finite_number(path, line, name, text) for name, text in pairs))
        )
        lines.append(line)
    extra = [name for name in heading if name not in wanted]
    note = f"{path.name}, line 1: {', '.join(map(repr, extra))} not used; columns are found by name"
    return Table(path.name, rows, lines, (note,) if extra else ())


def _repeats(table: Table[Row], noun: str, so: str) -> list[str]:
    """Return a sentence on the first row that is there twice, or nothing."""
    first: dict[Row, int] = {}
    repeated = [
        (first[row], line)
        for row, line in zip(table.rows, table.lines, strict=True)
        if first.setdefault(row, line) != line
    ]
    if not repeated:
        return []
    earlier, later = repeated[0]
    sentence = f"{table.file}, line {later}: the same {noun} as on line {earlier}"
    more = f" ({len(repeated)} such lines)" if len(repeated) > 1 else ""
    return [f"{sentence}{more}" + (f"; {so}" if so else "")]


def _with_note(table: Table[Row], *notes: str) -> Table[Row]:
    return Table(table.file, table.rows, table.lines, (*table.notes, *notes))
