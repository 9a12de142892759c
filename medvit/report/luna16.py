"""Nodules in the form that the LUNA16 challenge scores."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from medvit import atomic
from medvit.findings.finding import CaseResult, Finding

COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "probability")


def write_luna16(path: Path, results: Iterable[CaseResult]) -> None:
    """Write every nodule in LPS mm; a volume without a series UID goes by its file name."""
    findings = [each for result in results for each in result.findings if each.kind == "ct"]
    findings.sort(key=lambda each: (_series(each), -each.probability, each.finding_id))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in findings:
        place = (f"{value or 0.0:.3f}" for value in (each.x_mm, each.y_mm, each.z_mm))
        writer.writerow((_series(each), *place, f"{each.probability:.6f}"))
    atomic.write_text(path, text.getvalue())


def _series(finding: Finding) -> str:
    name = finding.source.rsplit("/", 1)[-1]
    return finding.series_uid or name.removesuffix(".gz").rsplit(".", 1)[0]
