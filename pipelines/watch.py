"""Watch folders: what arrives whole is scanned with the champion of the moment.

    arrivals -> complete cases -> an ordinary scan of them -> tables of all so far -> next look

Each batch is a run of its own, so that what it found carries the model that found it. A
promotion takes effect at the next case: the batch ends, and the rest is scanned with the new
champion. What was answered is answered: a watch that is started again goes on with what is new.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from medvit.errors import InputError
from medvit.io.scratch import Scratch
from medvit.registry.registry import find_model
from medvit.workspace import Workspace
from pipelines.scan import Progress, ScanSettings, run
from pipelines.scanning.arrivals import Answered, Arrivals, Incoming
from pipelines.scanning.detectors import TASK_OF_KIND
from pipelines.scanning.journal import Journal, exclusive
from pipelines.scanning.sources import Sources

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """When a watch looks, and when it ends.

    Attributes:
        every_s: Seconds between two looks.
        settle_s: Seconds for which a file must have stayed as it is.
        clock: Seconds, as `time.monotonic`.
        pause: As `time.sleep`.
        is_over: Whether the watch is to end, asked after each look; by default only an
            interrupt ends it.
    """

    every_s: float = 2.0
    settle_s: float = 5.0
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    is_over: Callable[[], bool] = lambda: False


def watch(
    settings: ScanSettings,
    *,
    workspace: Workspace,
    progress: Progress | None = None,
    pace: Pace | None = None,
) -> int:
    """Scan what arrives, until told to end, and return how many cases the tables hold.

    Raises:
        InputError: If a folder is not there at the start, `out` cannot be used or is in use,
            or a deadline is set.
        ModelError: If a model is unknown or altered.
        StoreError: If the store fails.
        KeyboardInterrupt: If it is stopped; the tables then hold what was finished.
    """
    pace = pace or Pace()
    _check(settings)
    answered = Answered()
    archives = Scratch.below(workspace.cache).archives
    incoming = Incoming(settings.sources, settings.task, archives, pace.settle_s, pace.clock)
    waiting: Sources | None = None
    with exclusive(settings.out):
        answered.add(Journal(settings.out).entries())
        while True:
            waiting = _look(incoming) or waiting
            if waiting is not None:
                waiting = _scan_new(waiting, settings, workspace, answered, progress)
            if pace.is_over():
                return len(answered.entries)
            if waiting is None:
                if progress is not None:
                    progress(len(answered.entries), len(answered.entries), "waiting for arrivals")
                pace.pause(pace.every_s)


def _check(settings: ScanSettings) -> None:
    if settings.deadline_s is not None:
        msg = f"a watch has no end, so --deadline {settings.deadline_s:g} means nothing to it"
        raise InputError(msg, hint="leave --deadline or --watch out")
    for source in settings.sources:
        if not source.exists():
            msg = f"{source}: there is no such folder to watch"
            raise InputError(msg, hint="create it, or correct the path")
        if settings.out.resolve().is_relative_to(source.resolve()):
            msg = f"{settings.out} lies in {source}: the watch would scan its own answers"
            raise InputError(msg, hint="choose an --out beside the watched folder")


def _look(incoming: Incoming) -> Sources | None:
    """Return what is complete; None when nothing changed, or the folder is away for a while."""
    try:
        return incoming.look()
    except InputError as error:
        logger.warning("the watch goes on: %s", error.message)
        return None


def _scan_new(
    found: Sources,
    settings: ScanSettings,
    workspace: Workspace,
    answered: Answered,
    progress: Progress | None,
) -> Sources | None:
    """Scan the cases without an answer; return them if a promotion cut the batch short."""
    new = tuple(case for case in found.cases if answered.is_new(case))
    if not new:
        return None
    champions = _champions(settings, workspace)
    batch = Arrivals(
        replace(found, cases=new),
        answered.beside(new),
        lambda: _champions(settings, workspace) == champions,
    )
    try:
        run(settings, workspace=workspace, progress=progress, arrivals=batch)
    finally:
        answered.add(done.entry for done in batch.done)
    return found if len(batch.done) < len(new) else None


def _champions(settings: ScanSettings, workspace: Workspace) -> dict[str, tuple[str, str]]:
    """Return reference and hash of the model that each kind of case would get now."""
    models = workspace.models
    named = find_model(settings.model, models=models) if settings.model else None
    found: dict[str, tuple[str, str]] = {}
    for task in TASK_OF_KIND.values():
        own = named if named is not None and named.task == task else None
        version = own or find_model(None, task=task, models=models)
        found[task] = (version.reference, version.sha256)
    return found
