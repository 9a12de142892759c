"""Scans and retrainings that the review app starts: each a process of its own in a run folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import medvit
from medvit import atomic
from medvit.errors import InputError
from medvit.workspace import Workspace
from pipelines.job_keeper import ANSWER, CANCEL, EXIT, JOB, LOG, is_held

RUNS = "job"
TAIL_BYTES = 16_384
STARTING_S = 60.0
"""A job that nobody holds after so long was never begun."""

State = Literal["running", "stopping", "done", "partial", "nothing", "refused", "stopped", "failed"]
STATES: dict[int, State] = {
    0: "done",
    3: "nothing",
    4: "partial",
    6: "refused",
    130: "stopped",
    -2: "stopped",
}
"""By the exit codes of the contract; every other one means failed."""

COUNTS = {"cases": "cases", "findings": "findings", "refuse": "refused", "fail": "failed"}
"""What is told of a scan, by the keys of its answer."""

_started: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True, slots=True)
class Job:
    """A job and how it stands.

    Attributes:
        words: What follows `medvit` on the command line.
        done: Pieces finished, of `total`; 0 of 0 while it has not said.
        message: What it ended with, in a sentence; empty where it did not say.
        tail: The last lines of its log.
    """

    folder: Path
    words: tuple[str, ...]
    by: str
    started_at: datetime
    state: State
    done: int = 0
    total: int = 0
    message: str = ""
    tail: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether it still works."""
        return self.state in ("running", "stopping")


def start_job(workspace: Workspace, words: Sequence[str], *, by: str) -> Path:
    """Start a command in a process that outlives this one, and return its run folder.

    The store's URL, which may hold a password, goes by the environment and is not kept.

    Args:
        words: What follows `medvit`, one string each; no shell reads them. `{job}` in a word
            stands for the run folder.
        by: Who started it.

    Raises:
        InputError: If the workspace cannot be written to.
    """
    folder = workspace.new_run(RUNS).resolve()
    told = {
        "words": [word.replace("{job}", str(folder)) for word in words],
        "by": by,
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        atomic.write_text(folder / JOB, json.dumps(told, indent=2) + "\n")
    except OSError as error:
        msg = f"{folder}: the job cannot be written down ({error.strerror})"
        raise InputError(msg, hint="free some space; nothing was started") from error
    _reap()
    _started.append(
        subprocess.Popen(
            [sys.executable, "-P", "-m", "pipelines.job_keeper", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=_environment(workspace),
        )
    )
    return folder


def cancel_job(folder: Path) -> None:
    """Ask a job to stop where it can be gone on from; who keeps it sends it an interrupt."""
    if is_held(folder):
        (folder / CANCEL).touch()


def list_jobs(workspace: Workspace, *, most: int = 50) -> list[Job]:
    """Return the newest jobs, newest first; folders that are no whole job are left out."""
    _reap()
    runs = workspace.runs(RUNS)
    numbers = sorted(int(each.name) for each in runs.glob("*") if each.name.isdecimal())
    jobs = (read_job(runs / str(number)) for number in numbers[::-1][:most])
    return [job for job in jobs if job is not None]


def read_job(folder: Path) -> Job | None:
    """Return how a job stands; None where no job was written down."""
    try:
        told = json.loads((folder / JOB).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    started = datetime.fromisoformat(told["started_at"])
    tail = _tail(folder / LOG)
    state, message = _state(folder, started)
    done, total = _progress(tail)
    words = tuple(told["words"])
    return Job(folder, words, told["by"], started, state, done, total, message, tail)


def _state(folder: Path, started: datetime) -> tuple[State, str]:
    if is_held(folder):
        return ("stopping" if (folder / CANCEL).exists() else "running"), ""
    try:
        code = int(json.loads((folder / EXIT).read_text(encoding="utf-8"))["code"])
    except FileNotFoundError:
        age_s = (datetime.now(UTC) - started).total_seconds()
        if age_s < STARTING_S and not (folder / LOG).exists():
            return "running", ""
        return "failed", "its process was killed before it could say how it ended"
    return STATES.get(code, "failed"), _said(folder / ANSWER)


def _said(file: Path) -> str:
    """Return what an answer comes to: an error, what the gate said, or counts of a scan."""
    try:
        answer = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return ""
    if error := answer.get("error"):
        return " ".join(filter(None, (error.get("message", ""), error.get("hint", ""))))
    if gate := answer.get("gate"):
        return f"{answer.get('model')}, {gate['verdict']}: {'; '.join(gate['reasons'])}"
    if "cases" in answer:
        counts = (f"{answer[key]:,} {word}" for key, word in COUNTS.items() if key in answer)
        return ", ".join(counts)
    return ""


def _tail(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - TAIL_BYTES))
            return stream.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _progress(tail: str) -> tuple[int, int]:
    r"""Return the last `done/total` of a log.

    Examples:
        >>> _progress("scan 0/3 a.png\nscan 2/3 b.png\n")
        (2, 3)
        >>> _progress("")
        (0, 0)
    """
    found = re.findall(r"^[a-z]+ (\d+)/(\d+)\b", tail, flags=re.MULTILINE)
    return (int(found[-1][0]), int(found[-1][1])) if found else (0, 0)


def _environment(workspace: Workspace) -> dict[str, str]:
    checkout = str(Path(medvit.__file__).resolve().parents[1])
    known = os.environ.get("PYTHONPATH", "")
    return {
        **os.environ,
        "MEDVIT_WORKSPACE": str(workspace.folder.resolve()),
        "MEDVIT_STORE": workspace.store,
        "PYTHONPATH": os.pathsep.join(filter(None, (checkout, known))),
    }


def _reap() -> None:
    """Let ended processes go from the table of the system."""
    _started[:] = [each for each in _started if each.poll() is None]
