"""Telling a file that the system will not give from one whose content is broken."""

from __future__ import annotations

from pathlib import Path
from typing import TypeGuard

from medvit.errors import ReadError


def unreadable(path: Path, error: OSError) -> ReadError:
    """Return the error for a file or folder that the system will not open."""
    msg = f"{path.name}: cannot be opened ({error.strerror or type(error).__name__})"
    return ReadError(msg, reason="unreadable", hint="check that the path exists and may be read")


def is_system_error(error: BaseException) -> TypeGuard[OSError]:
    """Return whether the system raised an error; libraries raise OSError for bad content too.

    Examples:
        >>> is_system_error(PermissionError(13, "denied")), is_system_error(OSError("bad tag"))
        (True, False)
    """
    return isinstance(error, FileNotFoundError) or (
        isinstance(error, OSError) and error.errno is not None
    )
