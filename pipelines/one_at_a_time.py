"""One process at a time; the system lets the lock go when its holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from medvit.errors import InputError

_held: set[TextIO] = set()


def _leave_to_parent() -> None:
    """Close in a forked process what would keep a lock that its parent, killed, has let go."""
    for stream in _held:
        stream.close()
    _held.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


@contextmanager
def holding(stream: TextIO, *, task: str, place: str, hint: str) -> Iterator[None]:
    """Hold the lock of an open file, which names its holder.

    Args:
        stream: Opened with "a+"; the file stays, only the system's lock on it counts.
        task: What one process at a time does.
        place: Where, after "is": "running in FOLDER".
        hint: What to do while another process does it.

    Raises:
        InputError: If another process holds it; names that process.
    """
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        stream.seek(0)
        owner = stream.read().strip() or "unknown"
        msg = f"another {task} (process {owner}) is {place}"
        raise InputError(msg, hint=hint) from error
    stream.truncate(0)
    stream.write(str(os.getpid()))
    stream.flush()
    _held.add(stream)
    try:
        yield
    finally:
        _held.discard(stream)
