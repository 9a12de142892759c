"""A disk that fills up, told as an error for people wherever a job meets it."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medvit.errors import InputError

REFUSALS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""No space, no quota, a file that may not grow, a disk that may not be written to."""

MIB = 1 << 20


@contextmanager
def told_when_full(folder: Path, *, hint: str) -> Iterator[None]:
    """Turn a write that the system refused into an error that names the disk.

    Args:
        folder: On the disk that is written to.
        hint: What to do once there is room, and what is unharmed.

    Raises:
        InputError: In place of the system's refusal; any other error is let through.
    """
    try:
        yield
    except OSError as error:
        if not is_full_disk(error):
            raise
        free_mib = shutil.disk_usage(folder).free / MIB
        msg = f"{folder}: the disk takes no more ({error.strerror}); {free_mib:.1f} MiB are free"
        raise InputError(msg, hint=hint) from error


def is_full_disk(error: BaseException) -> bool:
    """Whether a disk refused a write."""
    return isinstance(error, OSError) and error.errno in REFUSALS
