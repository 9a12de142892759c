"""Tell an MLflow server of runs: of a training while it runs, and of any run afterwards.

A file in the run folder, `mlflow.json`, names the run on the server. What the server has is asked
of the server itself, so that a resumed training goes on in its run, and nothing is sent twice.
"""

from __future__ import annotations

import json
import logging
import shlex
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from medvit import atomic
from medvit.errors import InputError, MedvitError
from pipelines.run_record import RUN_FILE
from pipelines.tracked_run import TrackedRun, read_tracked
from pipelines.tracking_server import ServerRun, TrackingServer

if TYPE_CHECKING:
    from medvit.learn.fit import EpochReport, Progress

_log = logging.getLogger(__name__)

TRACKING_FILE = "mlflow.json"
MOST_SECONDS = 10.0
"""A server that takes longer at a time is not asked again before the training is over."""
Ending = Literal["done", "failed", "interrupted"]


class Tracker:
    """Follows a training; whatever befalls the server, the training goes on.

    Args:
        uri: Of the server.
        progress: Told of each epoch all the same.

    Raises:
        ConfigError: If MLflow is missing, or the URI is of no server; before anything is sent.
    """

    def __init__(self, uri: str, *, progress: Progress | None = None) -> None:
        self.server = TrackingServer(uri)
        self.progress = progress
        self.folder: Path | None = None
        self._there: dict[Path, ServerRun] = {}
        self._is_silent = False
        self._has_warned = False

    def __call__(self, report: EpochReport) -> None:
        """Pass on what is told of an epoch."""
        if self.progress is not None:
            self.progress(report)

    def look(self, folder: Path) -> None:
        """Send what is new in the folder of a training."""
        if self.folder not in (None, folder):
            self.end("done")  # one fold after the other
        self.folder = folder
        if self._is_silent:
            return
        started_s = time.monotonic()
        self._is_silent = self._send(folder) is None or time.monotonic() - started_s > MOST_SECONDS

    def end(self, ending: Ending, folder: Path | None = None) -> str | None:
        """Send all that is left, and how it ended.

        Args:
            ending: That of the training.
            folder: Of the run; None: the one that was looked at.

        Returns:
            What the server calls the run; None if it does not answer, or nothing was begun.
        """
        last, self.folder = self.folder, None
        if last is not None and folder not in (None, last):
            self._send(last, ending)
        chosen = folder or last
        return None if chosen is None else self._send(chosen, ending)

    def _send(self, folder: Path, ending: Ending | None = None) -> str | None:
        try:
            run = read_tracked(folder)
            if ending is not None and run.state != "failed":
                run = replace(run, state=ending)
            if folder not in self._there:
                self._there[folder] = _open(self.server, folder, run)
            self.server.send(self._there[folder], run)
        except MedvitError as error:
            self._warn(error, folder)
            return None
        return self._there[folder].run_id

    def _warn(self, error: MedvitError, folder: Path) -> None:
        if self._has_warned:
            return
        words = ["medvit", "track", str(folder), "--mlflow", self.server.address]
        _log.warning("%s; send the run later: %s", error.message, shlex.join(words))
        self._has_warned = True


def track(runs: Sequence[Path], uri: str) -> dict[str, Any]:
    """Send runs that ended; what the server has is not sent again.

    Returns:
        `{"server", "runs": [{"run", "experiment", "mlflow_run", "new_figures"}]}`.

    Raises:
        ConfigError: If MLflow is missing, or the URI is of no server.
        InputError: If a folder is no run, before anything is sent, or the server does not answer.
    """
    read = []
    for folder in runs:
        if not (folder / RUN_FILE).is_file():
            msg = f"{folder}: no {RUN_FILE} there, so it is no run, or one that has not ended"
            raise InputError(msg, hint="name a folder such as medvit-workspace/runs/train/1")
        read.append((folder, read_tracked(folder)))
    server, rows = TrackingServer(uri), []
    for folder, run in read:
        there = _open(server, folder, run)
        count = server.send(there, run)
        row = {"run": str(folder), "experiment": run.experiment, "mlflow_run": there.run_id}
        rows.append({**row, "new_figures": count})
    return {"server": server.address, "runs": rows}


def _open(server: TrackingServer, folder: Path, run: TrackedRun) -> ServerRun:
    """Find the run of a folder on a server, or begin it there; the folder keeps its name."""
    notes = _read_notes(folder)
    _write_notes(folder, notes)
    there = server.open_run(run, key=notes["key"], run_id=notes["runs"].get(server.mark))
    notes["runs"][server.mark] = there.run_id
    _write_notes(folder, notes)
    return there


def _read_notes(folder: Path) -> dict[str, Any]:
    """Return the key of a run folder, and what servers call the run, by hash of their address."""
    file = folder / TRACKING_FILE
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {"key": uuid.uuid4().hex, "runs": {}}
    except (OSError, ValueError) as error:
        msg = f"{file}: not to be read: {error}"
        raise InputError(msg, hint="remove the file; the run is then sent as a new one") from error


def _write_notes(folder: Path, notes: dict[str, Any]) -> None:
    try:
        atomic.write_text(folder / TRACKING_FILE, json.dumps(notes, indent=1) + "\n")
    except OSError as error:
        msg = f"{folder / TRACKING_FILE}: cannot be written: {error.strerror or error}"
        raise InputError(msg, hint="make room, or the folder writable") from error
