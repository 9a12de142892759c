"""What became of each case of a conversion, as plain values and as `converted.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medvit.atomic import write_bytes
from medvit.errors import ReadError
from medvit.io.case import Case, Reason, Verdict
from medvit.io.verdict import Triage, refused
from medvit.report.tables import Cell

COLUMNS = ("case_id", "source", "verdict", "reason", "file")


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One case: how it was judged, and what it was written to.

    Attributes:
        judged: The verdict is `fail` when a case that was to be read could not.
        file: None when nothing was written.
        dtype: Type of the voxels; empty when nothing was written in this run.
        is_kept: Whether an earlier run wrote the file.
        notes: What to know about the file besides.
    """

    case: Case
    judged: Triage
    file: Path | None = None
    dtype: str = ""
    is_kept: bool = False
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """`accept`, `repair`, `refuse` or `fail`."""
        return self.judged.verdict

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The most specific first; `ok` alone for a sound case."""
        return self.judged.reasons

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        judged = self.judged
        affine = None if judged.affine_lps is None else judged.affine_lps.tolist()
        return {
            "case_id": self.case.case_id,
            "source": self.case.source,
            "series_uid": self.case.series_uid,
            "verdict": self.verdict,
            "reasons": [{"code": each.code, "message": each.message} for each in self.reasons],
            "shape": None if judged.shape is None else [int(side) for side in judged.shape],
            "spacing_mm": None
            if judged.spacing_mm is None
            else [float(mm) for mm in judged.spacing_mm],
            "affine_lps": affine,
            "file": None if self.file is None else str(self.file),
            "dtype": self.dtype or None,
            "kept": self.is_kept,
            "notes": list(self.notes),
        }


def failed(case: Case, error: ReadError) -> Row:
    """Return the row of a case that broke while it was read."""
    return Row(case, replace(refused(error), verdict="fail"))


def write_table(path: Path, rows: Iterable[Row]) -> None:
    """Write `converted.csv`, whole or not at all.

    Raises:
        OSError: If the folder is missing, not writable or full.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        values = (
            row.case.case_id,
            row.case.source,
            row.verdict,
            ";".join(dict.fromkeys(reason.code for reason in row.reasons)),
            "" if row.file is None else row.file.name,
        )
        cells = zip(COLUMNS, values, strict=True)
        writer.writerow([Cell(name, value, row.case.case_id).text() for name, value in cells])
    write_bytes(path, stream.getvalue().encode("utf-8", "backslashreplace"))
