"""Everything medvit does with unknown files, watched: what it raises, how long, how much memory.

Run as `python -m tests.make.exercise FOLDER...` it exercises folders in a process of its own and
prints one JSON object.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from medvit.errors import MedvitError
from medvit.io.case import Case
from medvit.io.discover import discover
from medvit.io.readers import open_volume, read_image
from medvit.io.triage import triage

MOST_SECONDS = 5.0
"""What one file, or one small series, may take."""

MOST_GROWTH_MB = 300
"""How much the process that reads may grow over a batch."""

MOST_CHILD_MB = 700
"""What a process that decodes for it may hold."""

PROJECT = Path(__file__).resolve().parents[2]
BOX = slice(0, 8)


class TooSlowError(BaseException):
    """A file took longer than it may; nothing below catches this."""


@dataclass(frozen=True, slots=True)
class Exercised:
    """What a batch did.

    Attributes:
        faults: Traces of what must not be raised, by folder.
        slowest_s: The longest that one folder took, and which.
        growth_mb: How much this process held more at its peak than before.
        child_mb: The most that a process which decodes for it held.
        answers: What came of each folder.
    """

    faults: dict[str, str]
    slowest_s: tuple[float, str]
    growth_mb: float
    child_mb: float
    answers: dict[str, str]


def exercise(source: Path) -> str:
    """Find, judge and read what is in a folder; return what came of it in a word.

    Only `MedvitError` may be raised inside; anything else comes out.
    """
    try:
        cases = discover(source).cases
    except MedvitError as error:
        return error.code
    answers = [_exercise(case) for case in cases]
    return answers[0] if answers else "nothing"


def _exercise(case: Case) -> str:
    judged = triage(case)
    assert judged.reasons
    assert all(reason.code and reason.message for reason in judged.reasons)
    if judged.verdict == "refuse":
        return judged.reasons[0].code
    try:
        if case.kind == "image":
            read_image(case)
        else:
            volume = open_volume(case)
            assert volume.shape == judged.shape
            assert volume.read(BOX, BOX, BOX).ndim == 3
    except MedvitError as error:
        return f"late {getattr(error, 'reason', error.code)}"
    return judged.verdict


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise `TooSlowError` inside the block when it takes longer."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        msg = f"took longer than {seconds:g} s"
        raise TooSlowError(msg)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def exercise_all(folders: Sequence[Path]) -> Exercised:
    """Exercise folders one by one in this process."""
    faults: dict[str, str] = {}
    answers: dict[str, str] = {}
    slowest = (0.0, "")
    before, child_mb = _restart_peak_mb(), 0.0
    for folder in folders:
        started = time.perf_counter()
        try:
            with at_most(MOST_SECONDS):
                answers[folder.name] = exercise(folder)
        except (TooSlowError, Exception):
            faults[folder.name] = traceback.format_exc()[-1500:]
        slowest = max(slowest, (time.perf_counter() - started, folder.name))
        child_mb = max([child_mb, *_child_peaks_mb()])
    return Exercised(faults, slowest, _status_mb("VmHWM") - before, child_mb, answers)


def exercise_apart(folders: Sequence[Path]) -> Exercised:
    """Exercise folders in a process of its own, which may crash without harm.

    Raises:
        AssertionError: If it dies; the message names the folders and the exit code.
    """
    listed = "\n".join(map(str, folders))
    done = subprocess.run(
        [sys.executable, "-m", "tests.make.exercise"],
        input=listed,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60 + MOST_SECONDS * len(folders),
    )
    if done.returncode:
        msg = f"exit {done.returncode} over {folders[0].parent}: {done.stderr[-1500:]}"
        raise AssertionError(msg)
    found = json.loads(done.stdout.splitlines()[-1])
    return Exercised(**{**found, "slowest_s": tuple(found["slowest_s"])})


def _restart_peak_mb() -> float:
    """Set the peak of this process back to what it holds now, and return that."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status_mb("VmRSS")


def _child_peaks_mb() -> list[float]:
    """Return the most that each process begun here and still running ever held."""
    tasks = Path("/proc/self/task").glob("*/children")
    return [_status_mb("VmHWM", pid) for task in tasks for pid in _read(task).split()]


def _status_mb(field: str, pid: str = "self") -> float:
    """Return a figure of /proc/<pid>/status; 0 for a process that has just ended."""
    lines = _read(Path("/proc", pid, "status")).splitlines()
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def _read(path: Path) -> str:
    """Return what /proc says; nothing of a process or thread that has just ended."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


if __name__ == "__main__":
    found = exercise_all([Path(line) for line in sys.stdin.read().splitlines()])
    sys.stdout.write(
        json.dumps({name: getattr(found, name) for name in Exercised.__dataclass_fields__}) + "\n"
    )
