"""What a running scan has found so far: one small file in its run folder, for whoever watches."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medvit import atomic
from medvit.workspace import Workspace

FILE = "live.json"
EVERY_S = 0.5
"""A candidate is told at once, mere progress not more often than this."""

MOST_CANDIDATES = 20
SILENT_S = 600.0
"""A scan that wrote nothing for so long is taken for dead, even if its process number lives."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A nodule that a running search has met; later tiles may still merge or drop it.

    Attributes:
        index_zyx: Nearest voxel of the source volume.
        diameter_mm: Estimated diameter.
        probability: Score of the detector, 0 to 1.
    """

    index_zyx: tuple[int, int, int]
    diameter_mm: float
    probability: float


@dataclass(frozen=True, slots=True)
class LiveScan:
    """How far a scan is.

    Attributes:
        run: Name of the run folder.
        number: Cases done before the one at hand.
        share: Of the case at hand, 0 to 1.
        candidates: Of the case at hand, most probable first.
        count: All candidates of it, also those not listed.
    """

    run: str
    case_id: str
    source: str
    number: int
    cases: int
    share: float
    candidates: tuple[Candidate, ...]
    count: int


class LiveFile:
    """Writes `live.json`; a file that cannot be written never stops the scan.

    Attributes:
        run: Name of the run folder.
    """

    def __init__(self, run: Path) -> None:
        self.run = run.name
        self._path = run / FILE
        self._written_s = 0.0
        self._has_warned = False

    def tell(self, scan: LiveScan, *, at_once: bool = False) -> None:
        """Write how far the scan is, unless that was told a moment ago."""
        now = time.monotonic()
        if not at_once and now - self._written_s < EVERY_S:
            return
        self._written_s = now
        try:
            text = json.dumps({"pid": os.getpid(), **asdict(scan)})
            atomic.write_bytes(self._path, text.encode(), must_last=False)
        except OSError as error:
            if not self._has_warned:
                logger.warning("%s cannot be written: %s", self._path, error.strerror or error)
            self._has_warned = True

    def close(self) -> None:
        """Remove the file: the scan is over."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s cannot be removed: %s", self._path, error.strerror or error)


def running_scans(workspace: Workspace) -> list[LiveScan]:
    """Return the scans that are running in a workspace, oldest run first."""
    files = sorted(workspace.runs("scan").glob(f"[0-9]*/{FILE}"), key=lambda path: path.parent.name)
    return [scan for path in files if (scan := _read(path)) is not None]


def best_first(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Return the candidates to list: the most probable, the lowest slice first among equals."""
    ordered = sorted(candidates, key=lambda each: (-each.probability, each.index_zyx))
    return tuple(ordered[:MOST_CANDIDATES])


def _read(path: Path) -> LiveScan | None:
    """Return what a file says; None when its scan is over or dead, or the file is not ours."""
    try:
        is_silent = time.time() - path.stat().st_mtime > SILENT_S
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if is_silent or not _is_alive(int(stored.pop("pid"))):
            return None
        candidates = tuple(
            Candidate((z, y, x), float(each["diameter_mm"]), float(each["probability"]))
            for each in stored.pop("candidates")
            for z, y, x in [each["index_zyx"]]
        )
        return LiveScan(**stored, candidates=candidates)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # ended meanwhile, or not ours


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # of another user
    except (ProcessLookupError, OverflowError):
        return False
    return True
