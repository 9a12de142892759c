"""The process that runs one job: it outlives the web page, and notes how the job ended.

Started as `python -P -m pipelines.job_keeper FOLDER`. It holds the lock of the job as long as the
job lives; the system lets go of it however both die.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from medvit import atomic

JOB, LOG, ANSWER, EXIT = "job.json", "log.txt", "answer.json", "exit.json"
LOCK, CANCEL = "job.lock", "cancel"
LOOK_EVERY_S = 0.2


def keep(folder: Path, command: Sequence[str]) -> int:
    """Run the words of a job until they end, and return their exit code.

    Args:
        folder: With `job.json`; gets `log.txt`, `answer.json` and `exit.json`.
        command: What the words of the job are handed to.
    """
    words = json.loads((folder / JOB).read_text(encoding="utf-8"))["words"]
    with (
        (folder / LOCK).open("a", encoding="ascii") as lock,
        (folder / LOG).open("ab") as log,
        (folder / ANSWER).open("wb") as answer,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        child = subprocess.Popen(
            [*command, *words],
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=log,
            pass_fds=(lock.fileno(),),
        )
        code = _wait(child, folder / CANCEL)
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        atomic.write_text(folder / EXIT, json.dumps({"code": code, "ended_at": ended}) + "\n")
    return code


def _wait(child: subprocess.Popen[bytes], cancel: Path) -> int:
    told = False
    while (code := child.poll()) is None:
        if not told and cancel.exists():
            child.send_signal(signal.SIGINT)
            told = True
        time.sleep(LOOK_EVERY_S)
    return code


def is_held(folder: Path) -> bool:
    """Return whether a job, or who keeps it, is alive."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # A shell starts what runs behind it with SIGINT ignored, and jobs would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    keep(Path(sys.argv[1]), [sys.executable, "-P", "-m", "apps.cli"])
