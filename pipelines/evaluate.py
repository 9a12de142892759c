"""Measure predictions against labels: files in, figures out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from medvit.metrics.froc import froc
from medvit.metrics.luna16_csv import read_annotations, read_marks, read_series
from medvit.workspace import Workspace
from pipelines.config import Settings
from pipelines.run_record import write_run_record
from pipelines.scanning.memory import peak_rss_mb


class FrocSettings(Settings):
    """Which files are scored."""

    predictions: Path
    annotations: Path
    excluded: Path | None = None
    series: Path | None = None


def run_froc(settings: FrocSettings, *, workspace: Workspace) -> dict[str, Any]:
    """Score nodule predictions by the rules of LUNA16, and keep the figures in a run folder.

    Raises:
        InputError: If a file, a column or a number is missing.
    """
    result = froc(
        read_marks(settings.predictions),
        read_annotations(settings.annotations),
        excluded=read_annotations(settings.excluded) if settings.excluded else None,
        series=read_series(settings.series) if settings.series else None,
    )
    figures = asdict(result)
    folder = workspace.new_run("evaluate")
    record: dict[str, Any] = {
        "command": "evaluate froc",
        "state": "done",
        "settings": settings.model_dump(mode="json"),
        "models": {},
        "device": "cpu",
        "counts": {"scans": result.n_scans, "annotations": result.n_annotations},
        "metrics": figures,
        "predicted_peak_mb": None,
        "measured_peak_mb": round(peak_rss_mb(), 1),
        "failures": [],
    }
    write_run_record(folder, record)
    return {**figures, "run": str(folder)}
