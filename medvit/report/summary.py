"""What a report says of the run itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ModelUsed:
    """A model that judged cases of the report.

    Attributes:
        task: What it looks for: `nodule` or `defect`.
        reference: `name@version`.
        sha256: Hash of its weights.
    """

    task: str
    reference: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """The run behind a report.

    Attributes:
        sources: What was scanned, as the caller wants it shown.
        models: Every model that was used.
        settings: The resolved settings; shown as names and values.
        finished_at: When the run ended, with its time zone.
        seconds: Time of the whole run.
        measured_peak_mb: Largest resident memory; None when it was not measured.
        predicted_peak_mb: The same, as planned; None when nothing was planned.
        device: What the models ran on.
        version: Version of medvit.
        commit: Commit of the checkout; None outside of one.
        other_files: Files that are no cases.
        resumed: Cases taken over from an earlier run that was interrupted.
        notes: More sentences worth a line.
    """

    sources: tuple[str, ...]
    models: tuple[ModelUsed, ...]
    settings: Mapping[str, object]
    finished_at: datetime
    seconds: float
    version: str
    device: str = "cpu"
    measured_peak_mb: float | None = None
    predicted_peak_mb: float | None = None
    commit: str | None = None
    other_files: int = 0
    resumed: int = 0
    notes: tuple[str, ...] = ()
