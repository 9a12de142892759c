"""How an evaluation is kept: figures, page, pictures and tables in a run folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import medvit
from medvit import atomic
from medvit.report.evaluation_page import Heading
from medvit.workspace import Workspace
from pipelines.config import Settings
from pipelines.run_record import write_run_record
from pipelines.scanning.memory import peak_rss_mb

REPORT = "report.html"

logger = logging.getLogger(__name__)


def heading(title: str, notes: Sequence[str]) -> Heading:
    """Return what stands above a page made now."""
    return Heading(title, datetime.now(UTC), medvit.__version__, tuple(notes))


def floor_result(name: str, value: float, floor: float | None) -> dict[str, Any]:
    """Return whether a figure reaches its floor, as a part of the answer."""
    if floor is None:
        return {}
    return {"floor": {"metric": name, "floor": floor, "value": value, "passed": value >= floor}}


def keep(
    workspace: Workspace,
    command: str,
    *,
    settings: Settings,
    figures: dict[str, Any],
    files: Mapping[str, str],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Write a run folder once everything is computed, and return the answer.

    Args:
        workspace: Where runs are kept.
        command: As it is typed, such as `evaluate froc`.
        settings: What was asked.
        figures: What was measured.
        files: Texts by the names of the files to be written.
        about: `counts` and `warnings`, and `models` and `device` where a model ran.
    """
    for warning in about["warnings"]:
        logger.warning("%s", warning)
    folder = workspace.new_run("evaluate")
    for name, text in files.items():
        atomic.write_text(folder / name, text)
    record: dict[str, Any] = {
        "command": command,
        "state": "done",
        "settings": settings.model_dump(mode="json"),
        "models": {},
        "device": "cpu",
        **about,
        "metrics": figures,
        "predicted_peak_mb": None,
        "measured_peak_mb": round(peak_rss_mb(), 1),
        "failures": [],
    }
    write_run_record(folder, record)
    return {
        **figures,
        "warnings": list(about["warnings"]),
        "run": str(folder),
        "report": str(folder / REPORT),
    }
