"""What runs on a worker: one case after the other, within the memory of one process.

Cases and answers travel as plain values; models are loaded here, once a scan, and must be
the very same as where the scan was started.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from medvit.errors import InputError, MedvitError, ModelError
from medvit.io.case import Case, Kind
from medvit.io.scratch import Scratch
from medvit.tiles.budget import BudgetError
from medvit.tiles.resident import settle_allocator
from medvit.workspace import Workspace
from pipelines.engines.job import Errand, Job
from pipelines.scanning.budget import FREE_SHARE, check_budget
from pipelines.scanning.detectors import Detector, choose_device, load_detectors
from pipelines.scanning.journal import entry_from, plain_of
from pipelines.scanning.limits import Limits
from pipelines.scanning.memory import available_bytes, current_rss_mb
from pipelines.scanning.one_case import CaseDone, scan_case
from pipelines.scanning.workbench import CaseWatch, Workbench

MIB = 2**20
OTHERS_TURN_S = 120.0
"""How long a case may still be in the hands of a worker that was given up."""

LIMIT_SHARE = 0.75
"""Of dask's memory limit; beyond 0.8 of it dask gives a worker nothing more to do."""

_one_case_at_a_time = threading.Lock()
_ended: set[str] = set()
_equipped: dict[str, Equipment] = {}


class TurnTakenError(InputError):
    """A case that another worker is still at."""


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a worker scans the cases of one scan with."""

    detectors: dict[Kind, Detector]
    bench: Workbench


@dataclass(frozen=True, slots=True)
class EndableLimits(Limits):
    """Limits of a scan that may end before its time: whoever asked for it has gone."""

    scan: str = ""

    def is_time_up(self) -> bool:
        """Whether the case should end."""
        return self.scan in _ended or Limits.is_time_up(self)


def run_errands(errands: Sequence[Errand]) -> str:
    """Return as JSON a list of what each case gave (`done`), or why it was not begun.

    That is `taken` when another worker is at the case, `error` when no case could be; cases
    after such a one, or after the end of the scan, are left out.
    """
    began_s, answers = time.monotonic(), list[dict[str, Any]]()
    with _one_case_at_a_time:
        for errand in errands:
            if errand.job.scan in _ended:
                break
            ends_at_s = None if errand.left_s is None else began_s + errand.left_s
            answers.append(_answer(errand, ends_at_s=ends_at_s))
            if "error" in answers[-1]:
                break
    return json.dumps(answers)


def _answer(errand: Errand, *, ends_at_s: float | None) -> dict[str, Any]:
    try:
        return {"done": plain_of_done(_scan(errand, ends_at_s=ends_at_s))}
    except TurnTakenError as error:
        return {"taken": error.message}
    except MedvitError as error:
        smallest = error.smallest_bytes if isinstance(error, BudgetError) else None
        answer = {"message": error.message, "hint": error.hint, "smallest_bytes": smallest}
        return {"error": answer}


def end_scan(scan: str) -> None:
    """Let a case of this scan end at its next tile, and let go of what the scan needed."""
    _ended.add(scan)
    _equipped.pop(scan, None)


def plain_of_done(done: CaseDone) -> dict[str, Any]:
    """Return a finished case as JSON values."""
    error = done.budget_error
    return {
        **plain_of(done.entry),
        "predicted_peak_mb": done.predicted_peak_mb,
        "is_final": done.is_final,
        "smallest_bytes": None if error is None else error.smallest_bytes,
    }


def done_from(case: Case, plain: dict[str, Any], *, max_bytes: int) -> CaseDone:
    """Return a finished case from its JSON values."""
    smallest = plain["smallest_bytes"]
    return CaseDone(
        entry_from(case, plain),
        plain["predicted_peak_mb"],
        is_final=plain["is_final"],
        budget_error=None if smallest is None else BudgetError(max_bytes, smallest),
    )


def _scan(errand: Errand, *, ends_at_s: float | None) -> CaseDone:
    _check_files(errand)
    if errand.job.scan not in _equipped:
        _equipped.clear()  # one model at a time is what the memory was planned for
        _equipped[errand.job.scan] = _equip(errand.job, errand.neighbours)
    held = _equipped[errand.job.scan]
    bounds, job = held.bench.limits, errand.job
    limits = EndableLimits(bounds.max_bytes, job.effort, job.views, ends_at_s, scan=job.scan)
    with _own_turn(errand.job.tiles / f"{errand.case.case_id}.turn"):
        return scan_case(
            errand.case,
            held.detectors[errand.case.kind],
            replace(held.bench, limits=limits),
            key=errand.key,
            watch=CaseWatch(lambda _share: None),
        )


def _check_files(errand: Errand) -> None:
    differing = errand.differing()
    if differing:
        case = errand.case
        msg = (
            f"{case.source}: {len(differing)} of {len(case.files)} files are missing here, or "
            f"differ in size or time of change, {differing[0].name} first"
        )
        hint = "let all machines see the same disk; the same command goes on then"
        raise InputError(msg, hint=hint)


def _equip(job: Job, neighbours: int) -> Equipment:
    settle_allocator()
    threads, limit = _worker_bounds()
    torch.set_num_threads(threads)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it quotes what is in the file
    workspace = Workspace(job.workspace)
    device = choose_device("cuda" if job.device == "cuda" else "cpu")
    detectors: dict[Kind, Detector] = {}
    for model in job.models:
        found = load_detectors([model.kind], model.reference, device=device, workspace=workspace)[
            model.kind
        ]
        if found.version.sha256 != model.sha256:
            msg = (
                f"{model.reference} has other weights here: sha256 "
                f"{found.version.sha256[:12]} instead of {model.sha256[:12]}"
            )
            raise ModelError(msg, hint="let all machines see the same workspace")
        card = found.card.model_copy(update={"thresholds": dict(model.thresholds)})
        detectors[model.kind] = replace(found, card=card)
    limits = Limits(job.max_bytes or _own_share(limit, neighbours), job.effort, job.views)
    costs = workspace.cache / "costs"
    check_budget(detectors.values(), limits, costs=costs)
    scratch = Scratch.below(workspace.cache)
    return Equipment(detectors, Workbench(job.run, job.tiles, limits, scratch, costs))


def _worker_bounds() -> tuple[int, int | None]:
    """Return the threads and the bytes that dask gave to this worker; None: no limit."""
    from distributed import get_worker

    worker = get_worker()
    return worker.state.nthreads, worker.memory_manager.memory_limit


def _own_share(limit_bytes: int | None, neighbours: int) -> int:
    """Return what this process may hold when nobody said: what it has, and its part of the rest."""
    share = int(current_rss_mb() * MIB) + int(FREE_SHARE * available_bytes() / neighbours)
    return share if limit_bytes is None else min(share, int(LIMIT_SHARE * limit_bytes))


@contextmanager
def _own_turn(path: Path) -> Iterator[None]:
    """Wait until no other worker is at this case: one that was cut off may still be.

    Raises:
        TurnTakenError: If that takes too long.
    """
    until_s = time.monotonic() + OTHERS_TURN_S
    while (file := _open_locked(path)) is None:
        if time.monotonic() > until_s:
            msg = f"{path.stem}: another worker has been at this case for {OTHERS_TURN_S:.0f} s"
            raise TurnTakenError(msg, hint="the same command goes on when it has ended")
        time.sleep(0.2)
    try:
        yield
        path.unlink(missing_ok=True)
    finally:
        os.close(file)


def _open_locked(path: Path) -> int | None:
    """Open a file for this worker alone; None when another has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    if os.fstat(file).st_nlink > 0:
        return file
    os.close(file)  # its last owner removed it between opening and locking
    return None
