"""Judge what a folder holds, without any model: path -> cases -> verdicts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medvit.errors import MedvitError, NothingToDoError, ReadError
from medvit.io.case import Case
from medvit.io.discover import discover
from medvit.io.scratch import Scratch
from medvit.io.triage import triage
from medvit.io.verdict import Triage, refused
from medvit.workspace import Workspace
from pipelines.run_record import write_run_record
from pipelines.scanning.faults import blamed_on
from pipelines.scanning.memory import peak_rss_mb
from pipelines.scratch import scratch_of_one_pass

Progress = Callable[[float, float, str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """Every case with its judgement.

    Attributes:
        run: Folder that holds `run.json`; None where the workspace cannot be written.
    """

    cases: tuple[tuple[Case, Triage], ...]
    other_files: int
    run: Path | None

    @property
    def refused(self) -> int:
        """How many cases no model would see."""
        return sum(judged.verdict == "refuse" for _, judged in self.cases)

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "cases": [_plain(case, judged) for case, judged in self.cases],
            "other_files": self.other_files,
            "run": None if self.run is None else str(self.run),
        }


def run(source: Path, *, workspace: Workspace, progress: Progress | None = None) -> Inspection:
    """Judge every case of a folder, or the one case in a file.

    Raises:
        InputError: If the path does not exist.
        NothingToDoError: If it holds no case.
    """
    started = time.perf_counter()
    advance = progress or (lambda _done, _total, _what: None)
    scratch = scratch_of_one_pass(workspace)
    found = discover(source, archives=scratch.archives)
    if not found.cases:
        msg = f"{source}: no case among {found.other_files} files"
        raise NothingToDoError(msg, hint="name a folder with CT series or images")
    judged = []
    for number, case in enumerate(found.cases):
        advance(number, len(found.cases), case.source)
        judged.append((case, _judge(case, scratch)))
    advance(len(found.cases), len(found.cases), "")
    inspection = Inspection(tuple(judged), found.other_files, run=None)
    return _recorded(inspection, source, workspace, seconds=time.perf_counter() - started)


def _judge(case: Case, scratch: Scratch) -> Triage:
    try:
        with blamed_on(case.source):
            return triage(case, scratch=scratch)
    except ReadError as error:
        return refused(error)


def _recorded(
    inspection: Inspection, source: Path, workspace: Workspace, *, seconds: float
) -> Inspection:
    """Leave `run.json`; looking at a folder needs no place to write, so its lack is no error."""
    record = {
        "command": "inspect",
        "state": "done",
        "settings": {"source": str(source)},
        "models": {},
        "device": "cpu",
        "counts": {
            "cases": len(inspection.cases),
            "refuse": inspection.refused,
            "other_files": inspection.other_files,
        },
        "seconds": round(seconds, 2),
        "predicted_peak_mb": None,
        "measured_peak_mb": round(peak_rss_mb(), 1),
        "failures": [],
    }
    try:
        folder = workspace.new_run("inspect")
        write_run_record(folder, record)
    except (MedvitError, OSError):
        return inspection
    return Inspection(inspection.cases, inspection.other_files, run=folder)


def _plain(case: Case, judged: Triage) -> dict[str, Any]:
    affine = judged.affine_lps
    return {
        "case_id": case.case_id,
        "kind": case.kind,
        "source": case.source,
        "series_uid": case.series_uid,
        "verdict": judged.verdict,
        "reasons": [{"code": each.code, "message": each.message} for each in judged.reasons],
        "shape": None if judged.shape is None else [int(side) for side in judged.shape],
        "spacing_mm": None
        if judged.spacing_mm is None
        else [float(mm) for mm in judged.spacing_mm],
        "affine_lps": None if affine is None else [[float(v) for v in row] for row in affine],
        "repair": None if judged.repair is None else asdict(judged.repair),
    }
