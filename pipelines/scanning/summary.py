"""What a scan answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ScanSummary:
    """What a scan answers; the fields are the keys of its JSON answer.

    Attributes:
        run: Folder that holds `run.json`.
        partial: Cases whose search was cut short by the deadline, and those it kept from
            their turn; the same scan goes on with them.
        resumed: Cases taken from the journal of an earlier, equal scan.
        skipped: Cases of a kind that `task` leaves out.
        internal_errors: Cases that met a fault of medvit itself.
        sr: Structured reports written. `seg` likewise.
        without_dicom: Cases that should have had one of them and could not.
    """

    run: Path
    out: Path
    cases: int
    accept: int
    repair: int
    refuse: int
    fail: int
    findings: int
    partial: int
    resumed: int
    skipped: int
    other_files: int
    internal_errors: int
    sr: int
    seg: int
    without_dicom: int
    predicted_peak_mb: float
    measured_peak_mb: float
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "run": str(self.run), "out": str(self.out)}
