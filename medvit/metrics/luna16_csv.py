"""The three tables of LUNA16: marks, annotations and the list of scans."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from medvit.errors import InputError
from medvit.metrics.froc import Annotation, Mark

PLACE = ("seriesuid", "coordX", "coordY", "coordZ")


def read_marks(path: Path) -> list[Mark]:
    """Read a submission: `seriesuid,coordX,coordY,coordZ,probability`.

    Raises:
        InputError: If the file, a column or a number is missing; names the line.
    """
    return [Mark(uid, *numbers) for uid, numbers in _rows(path, "probability")]


def read_annotations(path: Path) -> list[Annotation]:
    """Read findings, included or excluded: `seriesuid,coordX,coordY,coordZ,diameter_mm`.

    Raises:
        InputError: If the file, a column or a number is missing; names the line.
    """
    return [Annotation(uid, *numbers) for uid, numbers in _rows(path, "diameter_mm")]


def read_series(path: Path) -> list[str]:
    """Read a list of scans, one UID a line; a heading `seriesuid` is skipped.

    Raises:
        InputError: If the file cannot be read or is empty.
    """
    lines = (line.strip().strip(",") for line in _text(path).splitlines())
    series = [line for line in lines if line and line != "seriesuid"]
    if not series:
        msg = f"{path.name}: no series UID in it"
        raise InputError(msg, hint="give a file with one series UID a line")
    return series


def _rows(path: Path, last: str) -> Iterator[tuple[str, tuple[float, float, float, float]]]:
    wanted = (*PLACE, last)
    reader = csv.DictReader(_text(path).splitlines())
    missing = [name for name in wanted if name not in (reader.fieldnames or ())]
    if missing:
        msg = f"{path.name}: column {missing[0]!r} is missing; found {reader.fieldnames}"
        raise InputError(msg, hint=f"the heading must be {','.join(wanted)}")
    for row in reader:
        x, y, z, value = (_number(path, reader.line_num, name, row[name]) for name in wanted[1:])
        yield row["seriesuid"], (x, y, z, value)


def _number(path: Path, line: int, name: str, text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        msg = f"{path.name}, line {line}: {name} must be a number, got {text!r}"
        raise InputError(msg, hint="correct the line") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read as text ({error})"
        raise InputError(msg, hint="check the path") from error
