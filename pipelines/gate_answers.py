"""The answers that the gate gave so far: read from the run folders that keep them."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from medvit.workspace import Workspace
from pipelines.gate import FIGURES

PLACES = (f"*/*/{FIGURES}", f"*/*/gate/{FIGURES}")
REPORT = "report.html"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """A comparison of two versions that was kept.

    Attributes:
        run: Command and number of its run, such as `compare/2`.
        figures: Name, champion's and challenger's value, as the report words them.
        report: The page that stands alone.
    """

    run: str
    champion: str
    challenger: str
    verdict: str
    reasons: tuple[str, ...]
    cases: int
    figures: tuple[tuple[str, str, str], ...]
    report: Path
    written_at: float


def kept_answers(workspace: Workspace) -> list[KeptAnswer]:
    """Return what the gate said of pairs of versions, newest first."""
    runs = workspace.folder / "runs"
    found = []
    for place in PLACES:
        for file in runs.glob(place):
            if file.parent.name != "latest" and "latest" not in file.relative_to(runs).parts:
                found += _read(file, runs)
    return sorted(found, key=lambda each: each.written_at, reverse=True)


def _read(file: Path, runs: Path) -> list[KeptAnswer]:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        answer = KeptAnswer(
            "/".join(file.relative_to(runs).parts[:2]),
            told["champion"],
            told["challenger"],
            told["verdict"],
            tuple(told["reasons"]),
            int(told["cases"]),
            tuple(
                (str(each["name"]), str(each["champion"]), str(each["challenger"]))
                for each in told.get("figures", ())
            ),
            file.parent / REPORT,
            file.stat().st_mtime,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("left out: %s is no answer of the gate (%s)", file, error)
        return []
    return [answer]
