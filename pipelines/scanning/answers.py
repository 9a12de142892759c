"""What a scan leaves behind: tables, report and `run.json`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from medvit.errors import InputError
from medvit.findings.finding import CaseResult
from medvit.report.coco import write_coco
from medvit.report.html import write_report
from medvit.report.luna16 import write_luna16
from medvit.report.nodule_table import write_nodules
from medvit.report.summary import ReportSummary
from medvit.report.tables import write_cases, write_findings
from pipelines.run_record import write_run_record
from pipelines.scanning.detectors import Detector
from pipelines.scanning.journal import Entry


def write_answers(
    out: Path,
    entries: Sequence[Entry],
    summary: ReportSummary,
    *,
    also: Sequence[str] = (),
    classes: Sequence[str] = (),
) -> None:
    """Write `cases.csv`, `findings.csv`, `nodules.csv`, `report.html`, and what else is asked for.

    Args:
        also: `luna16` adds `luna16.csv`, `coco` adds `coco.json`.
        classes: Of the model for images, in its order.

    Raises:
        InputError: If the folder is full or gone.
    """
    results = [entry.result for entry in entries]
    pictures = {name: uri for entry in entries for name, uri in entry.pictures.items()}
    details = {name: each for entry in entries for name, each in entry.details.items()}
    try:
        write_cases(out / "cases.csv", results)
        write_findings(out / "findings.csv", results)
        write_nodules(out / "nodules.csv", results, details)
        write_report(out / "report.html", results, summary, pictures, details)
        if "luna16" in also:
            write_luna16(out / "luna16.csv", results)
        if "coco" in also:
            write_coco(out / "coco.json", results, classes=classes)
    except OSError as error:
        msg = f"{out} cannot be written: {error.strerror or error}"
        hint = "free some space; the same command goes on where this one stopped"
        raise InputError(msg, hint=hint) from error


def write_record(
    folders: Iterable[Path],
    *,
    results: Sequence[CaseResult],
    detectors: Iterable[Detector],
    facts: dict[str, Any],
) -> None:
    """Write `run.json` into each folder.

    Args:
        facts: What else belongs there: state, settings, counts, seconds, memory.
    """
    record = {
        "command": "scan",
        **facts,
        "models": {
            each.version.task: {"model": each.version.reference, "sha256": each.version.sha256}
            for each in detectors
        },
        "failures": [_failure(each) for each in results if each.verdict in ("refuse", "fail")],
    }
    for folder in folders:
        write_run_record(folder, record)


def _failure(result: CaseResult) -> dict[str, str]:
    return {
        "case_id": result.case.case_id,
        "source": result.case.source,
        "verdict": result.verdict,
        "reason": result.reason,
        "message": result.message,
    }
