"""`cases.csv` and `findings.csv`: the same results give the same bytes.

Spreadsheets run a cell that begins with `=`, `+`, `-` or `@` as a formula, and file names and
DICOM headers come from strangers. A `source` of that kind is written with `./` before it, which
names the same file; any other text of that kind gets an apostrophe before it.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medvit.atomic import write_bytes
from medvit.findings.finding import FINDING_COLUMNS, CaseResult, Finding

CASE_COLUMNS = (
    "case_id",
    "kind",
    "source",
    "verdict",
    "reason",
    "label",
    "probability",
    "findings",
    "seconds",
    "peak_rss_mb",
)
DECIMALS = {
    "probability": 6,
    "ood": 6,
    "x_mm": 3,
    "y_mm": 3,
    "z_mm": 3,
    "diameter_mm": 3,
    "measured_mm": 3,
    "network_mm": 3,
    "pleura_mm": 2,
    "slice_location_mm": 3,
    "median_hu": 0,
    "score": 6,
    "score_spread": 4,
    "seconds": 2,
    "peak_rss_mb": 1,
}
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True, slots=True)
class Cell:
    """One value on its way into a table; `where` names its row in messages."""

    column: str
    value: object
    where: str

    def text(self) -> str:
        """Return the value as it is written.

        Raises:
            ValueError: If a number is not finite.

        Examples:
            >>> Cell("x_mm", -0.0001, "f-1").text()
            '0.000'
            >>> Cell("source", "=1+1.png", "im-1").text()
            './=1+1.png'
            >>> Cell("label", "@home", "im-1").text()
            "'@home"
        """
        if self.value is None:
            return ""
        if isinstance(self.value, str):
            return self._safe(self.value)
        if self.column not in DECIMALS:
            return str(self.value)
        return self._fixed(float(str(self.value)), DECIMALS[self.column])

    def _fixed(self, number: float, decimals: int) -> str:
        if not math.isfinite(number):
            msg = f"{self.where}: {self.column} must be finite, got {number}"
            raise ValueError(msg)
        text = f"{number:.{decimals}f}"
        return text.removeprefix("-") if float(text) == 0 else text

    def _safe(self, text: str) -> str:
        if not text.startswith(FORMULA_STARTS):
            return text
        return ("./" if self.column == "source" else "'") + text


def write_cases(path: Path, results: Iterable[CaseResult]) -> None:
    """Write `cases.csv`, sorted by source, series and case id; whole or not at all.

    Raises:
        ValueError: If a number is not finite; the message names case and column.
        OSError: If the folder is missing, not writable or full.
    """
    rows = [_case_row(result) for result in sorted(results, key=_case_order)]
    write_bytes(path, csv_bytes(CASE_COLUMNS, rows))


def write_findings(path: Path, results: Iterable[CaseResult]) -> None:
    """Write `findings.csv`, sorted by source, series, probability (largest first) and id.

    Raises:
        ValueError: If a number is not finite; the message names finding and column.
        OSError: If the folder is missing, not writable or full.
    """
    findings = [finding for result in results for finding in result.findings]
    rows = [
        [Cell(name, getattr(finding, name), finding.finding_id).text() for name in FINDING_COLUMNS]
        for finding in sorted(findings, key=finding_order)
    ]
    write_bytes(path, csv_bytes(FINDING_COLUMNS, rows))


def finding_order(finding: Finding) -> tuple[str, str, float, str]:
    """Return the sort key of a finding; what is printed alike is ordered by id."""
    probability = round(finding.probability, DECIMALS["probability"])
    return finding.source, finding.series_uid, -probability, finding.finding_id


def _case_order(result: CaseResult) -> tuple[str, str, str]:
    return result.case.source, result.case.series_uid, result.case.case_id


def _case_row(result: CaseResult) -> list[str]:
    values: dict[str, object] = {
        "case_id": result.case.case_id,
        "kind": result.case.kind,
        "source": result.case.source,
        "verdict": result.verdict,
        "reason": result.reason,
        "label": result.label,
        "probability": result.probability,
        "findings": len(result.findings),
        "seconds": result.seconds,
        "peak_rss_mb": result.peak_rss_mb,
    }
    return [Cell(name, values[name], result.case.case_id).text() for name in CASE_COLUMNS]


def csv_bytes(header: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """Return a table as the bytes of a CSV file."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    # A file name on Linux may be no UTF-8; such bytes are written as \udcff.
    return stream.getvalue().encode("utf-8", "backslashreplace")
