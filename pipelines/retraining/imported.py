"""Splits and groups that came with imported labels: what a model was trained on stays so."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from medvit import atomic
from medvit.errors import InputError

IMPORTED = "imported.csv"
COLUMNS = ["case_id", "split", "group"]


def read_imported(home: Path) -> dict[str, tuple[str, str]]:
    """Return split and group by case id; either may be empty.

    Raises:
        InputError: If the file is not ours.
    """
    file = home / IMPORTED
    if not file.is_file():
        return {}
    lines = list(csv.reader(file.read_text(encoding="utf-8").splitlines()))
    if not lines or lines[0] != COLUMNS or any(len(line) != len(COLUMNS) for line in lines):
        msg = f"{file}: the header must be {','.join(COLUMNS)}, three cells a line"
        raise InputError(msg, hint="remove the file and import the labels again")
    return {case_id: (split, group) for case_id, split, group in lines[1:]}


def add_imported(home: Path, places: Mapping[str, tuple[str, str]]) -> None:
    """Remember split and group of imported cases; those known already keep their split.

    Raises:
        InputError: If the file cannot be written.
    """
    known = read_imported(home)
    for case_id, (split, group) in places.items():
        before = known.get(case_id, ("", ""))
        known[case_id] = (before[0] or split, before[1] or group)
    stream = io.StringIO()
    rows = sorted((case_id, *place) for case_id, place in known.items())
    csv.writer(stream, lineterminator="\n").writerows([COLUMNS, *rows])
    try:
        home.mkdir(parents=True, exist_ok=True)
        atomic.write_text(home / IMPORTED, stream.getvalue())
    except OSError as error:
        msg = f"{home / IMPORTED} cannot be written ({error.strerror})"
        raise InputError(msg, hint="free some space, then import again") from error
