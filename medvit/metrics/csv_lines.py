"""Lines of a CSV file that people wrote, read so that what is wrong is named by line."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from medvit.errors import InputError

OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def iter_cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and stripped cells of every line that is not empty.

    Raises:
        InputError: If the file cannot be read as CSV in UTF-8.
    """
    reader = csv.reader(StringIO(_text(path), newline=""))
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        msg = f"{path.name}, line {reader.line_num}: not a line of a CSV file ({error})"
        raise InputError(msg, hint="save it as CSV with commas") from error


def column_of(path: Path, heading: list[str], name: str, wanted: tuple[str, ...]) -> int:
    """Return the place of a column that the heading names.

    Args:
        path: The file, for messages.
        heading: Cells of its first line.
        name: Of the column.
        wanted: All names that the heading must hold.

    Raises:
        InputError: If it is missing, there twice, or the delimiter is no comma.
    """
    if heading.count(name) == 1:
        return heading.index(name)
    hint = f"the heading must be {','.join(wanted)}"
    if name in heading:
        msg = f"{path.name}, line 1: column {name!r} is there {heading.count(name)} times"
        raise InputError(msg, hint=hint)
    line = ",".join(heading)
    for mark, called in OTHER_DELIMITERS.items():
        if mark in line:
            msg = f"{path.name}, line 1: values must be parted by commas, found {called}: {line!r}"
            raise InputError(msg, hint="save it as CSV with commas, and with points in numbers")
    msg = f"{path.name}, line 1: column {name!r} is missing; found {heading}"
    raise InputError(msg, hint=hint)


def finite_number(path: Path, line: int, name: str, text: str | None) -> float:
    """Return the number in a cell.

    Raises:
        InputError: If it is none, or not finite; names file and line.
    """
    try:
        number = float(text or "")
    except ValueError:
        msg = f"{path.name}, line {line}: {name} must be a number, got {text!r}"
        raise InputError(msg, hint="correct the line") from None
    if not math.isfinite(number):
        msg = f"{path.name}, line {line}: {name} must be finite, got {text!r}"
        raise InputError(msg, hint="correct the line, or leave it out")
    return number


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read as text ({error})"
        raise InputError(msg, hint="check the path; tables are UTF-8") from error
