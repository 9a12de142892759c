"""Score nodule predictions by the rules of LUNA16: tables -> matches -> figures -> page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field

from medvit.errors import InputError
from medvit.metrics.froc import ScanMatches, SizeFroc, match_scans
from medvit.metrics.froc_checks import check_axes, check_scans
from medvit.metrics.froc_figures import FrocFigures, measure_froc
from medvit.metrics.luna16_csv import read_annotation_table, read_mark_table, read_series_table
from medvit.report.froc_report import froc_page, froc_plot, nodule_csv, scan_csv
from medvit.workspace import Workspace
from pipelines.config import Settings
from pipelines.evaluating.keeping import REPORT, floor_result, heading, keep


class FrocSettings(Settings):
    """Which files are scored, and how the band is drawn."""

    predictions: Path
    annotations: Path
    excluded: Path | None = None
    series: Path | None = None
    rounds: int = Field(1000, ge=40, description="draws of scans for the 95 % band")
    seed: int = Field(0, ge=0)
    floor: float | None = Field(None, ge=0, le=1, description="lowest CPM that will do")


def run_froc(settings: FrocSettings, *, workspace: Workspace) -> dict[str, Any]:
    """Score nodule predictions, and keep figures, plot, page and tables in a run folder.

    Returns:
        The figures of the contract, their intervals, `per_size`, `warnings`, `run`, `report`.

    Raises:
        InputError: If a file, a column or a number is missing or wrong, a nodule is there
            twice, or no mark or no annotation lies in a listed scan.
    """
    scans, warnings = _read(settings)
    figures = measure_froc(scans, rounds=settings.rounds, seed=settings.seed)
    files = [
        (name.capitalize(), path.name)
        for name in ("predictions", "annotations", "excluded", "series")
        if (path := getattr(settings, name)) is not None
    ]
    above = heading(f"FROC of {settings.predictions.name}", warnings)
    return keep(
        workspace,
        "evaluate froc",
        settings=settings,
        figures={**_answer(figures), **floor_result("cpm", figures.result.cpm, settings.floor)},
        files={
            REPORT: froc_page(figures, above, files),
            "froc.svg": froc_plot(figures) + "\n",
            "scans.csv": scan_csv(figures),
            "nodules.csv": nodule_csv(figures),
        },
        about={
            "counts": {
                "scans": figures.result.n_scans,
                "annotations": figures.result.n_annotations,
            },
            "warnings": warnings,
        },
    )


def _read(settings: FrocSettings) -> tuple[Sequence[ScanMatches], list[str]]:
    """Return the matched scans, and sentences on what is odd about the tables."""
    marks = read_mark_table(settings.predictions)
    nodules = read_annotation_table(settings.annotations)
    excluded = (
        read_annotation_table(settings.excluded, is_excluded=True) if settings.excluded else None
    )
    series = read_series_table(settings.series) if settings.series else None
    if not nodules.rows:
        msg = f"{nodules.file}: sensitivity needs at least one annotation, found 0"
        raise InputError(msg, hint="give the file with the nodules that are to be found")
    notes = [note for table in (marks, nodules, excluded, series) if table for note in table.notes]
    notes += check_scans(marks, nodules, series)
    scans = match_scans(
        marks.rows,
        nodules.rows,
        excluded=excluded.rows if excluded else None,
        series=series.rows if series else None,
    )
    return scans, [*notes, *check_axes(marks.rows, nodules.rows, scans)]


def _answer(figures: FrocFigures) -> dict[str, Any]:
    return {
        **asdict(figures.result),
        "false_negatives": figures.result.false_negatives,
        "cpm_interval": figures.band.cpm,
        "sensitivity_interval": figures.intervals,
        "threshold": figures.thresholds,
        "rounds": figures.rounds,
        "seed": figures.seed,
        "per_size": [_size(size) for size in figures.sizes],
    }


def _size(size: SizeFroc) -> dict[str, Any]:
    return {
        "name": size.name,
        "low_mm": size.low_mm,
        "high_mm": None if size.high_mm == float("inf") else size.high_mm,
        "n_annotations": size.result.n_annotations,
        "true_positives": size.result.true_positives,
        "sensitivity": size.result.sensitivity,
        "max_sensitivity": size.result.max_sensitivity,
        "cpm": size.result.cpm,
        "cpm_interval": size.band.cpm,
    }
