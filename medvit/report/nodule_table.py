"""`nodules.csv`: what is told of each nodule beside its row in `findings.csv`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from medvit.atomic import write_bytes
from medvit.findings.finding import CaseResult
from medvit.findings.nodule import DETAIL_COLUMNS, NoduleDetail
from medvit.report.tables import Cell, csv_bytes, finding_order

FROM_FINDING = (
    "case_id",
    "source",
    "series_uid",
    "number",
    "probability",
    "diameter_mm",
    "x_mm",
    "y_mm",
    "z_mm",
    "index_z",
    "index_y",
    "index_x",
    "model",
)
NODULE_COLUMNS = (FROM_FINDING[0], DETAIL_COLUMNS[0], *FROM_FINDING[1:], *DETAIL_COLUMNS[1:])
YES_NO = {True: "yes", False: "no", None: None}


def write_nodules(
    path: Path, results: Iterable[CaseResult], details: Mapping[str, NoduleDetail]
) -> None:
    """Write `nodules.csv` in the order of `findings.csv`; whole or not at all.

    `number` counts the findings of a case from 1, the most probable first, as the report does.

    Args:
        details: By finding id; a finding without any has no row.

    Raises:
        ValueError: If a number is not finite; the message names finding and column.
        OSError: If the folder is missing, not writable or full.
    """
    told = [
        (finding, number)
        for result in results
        for number, finding in enumerate(sorted(result.findings, key=finding_order), start=1)
        if finding.finding_id in details
    ]
    rows = []
    for finding, number in sorted(told, key=lambda each: finding_order(each[0])):
        detail = details[finding.finding_id]
        values = {
            **asdict(finding),
            **asdict(detail),
            "number": number,
            "calcified": YES_NO[detail.calcified],
        }
        rows.append(
            [Cell(name, values[name], finding.finding_id).text() for name in NODULE_COLUMNS]
        )
    write_bytes(path, csv_bytes(NODULE_COLUMNS, rows))
