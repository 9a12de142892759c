"""One retraining at a time; the system lets the lock go when its holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medvit.errors import InputError

LOCK_FILE = "retrain.lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a second retraining out of a workspace for as long as this process lives.

    Raises:
        InputError: If another one is running; names its process.
    """
    with (folder / LOCK_FILE).open("a+", encoding="ascii") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            owner = stream.read().strip() or "unknown"
            msg = f"another retraining (process {owner}) is running in {folder}"
            raise InputError(msg, hint="wait for it; nothing was changed") from error
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
