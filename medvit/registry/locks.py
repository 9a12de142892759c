"""One at a time, across processes: a lock that the system lets go when its holder dies."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medvit.errors import ModelError

LOCK_FILE = ".lock"
WAIT_S = 10.0
LOOK_EVERY_S = 0.02


@contextmanager
def locked(folder: Path, *, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold a folder's lock; the file stays, only the system's lock on it counts.

    Args:
        wait_s: How long to wait for another process that holds it.

    Raises:
        ModelError: If it is still held then, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / LOCK_FILE).open("a", encoding="utf-8")
    except OSError as error:
        msg = f"{folder}: the registry cannot be written to ({error.strerror})"
        raise ModelError(msg, hint="nothing was changed") from error
    with stream:
        until = time.monotonic() + wait_s
        while not _taken(stream.fileno()):
            if time.monotonic() >= until:
                msg = f"{folder}: another process has been changing it for {wait_s:g} s"
                raise ModelError(msg, hint="nothing was changed; try again in a moment")
            time.sleep(LOOK_EVERY_S)
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
