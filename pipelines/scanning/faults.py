"""Whose fault an exception is: the file's, the machine's, or medvit's own."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medvit.errors import MedvitError, ReadError, is_out_of_memory
from medvit.resources import PACKAGE

OWN_ROOMS = tuple(PACKAGE.parent / room for room in ("medvit", "pipelines", "apps"))


@contextmanager
def blamed_on(source: str) -> Iterator[None]:
    """Turn what a decoder or the system raises about a file into a `ReadError`.

    What our own code raises by mistake goes through. Texts of foreign exceptions
    may quote the file, so only their type is told.

    Raises:
        ReadError: With the reason `too_large`, `unreadable` or `undecodable`.
    """
    try:
        yield
    except MedvitError:
        raise
    except OSError as error:
        msg = f"{source}: cannot be read: {error.strerror or type(error).__name__}"
        hint = "check that the file is whole and may be read"
        raise ReadError(msg, reason="unreadable", hint=hint) from error
    except Exception as error:
        if is_out_of_memory(error):
            msg = f"{source}: not enough memory for it"
            hint = "close other programs or use a machine with more memory"
            raise ReadError(msg, reason="too_large", hint=hint) from error
        if is_own(error):
            raise
        msg = f"{source}: the decoder gave up with {type(error).__name__}"
        hint = "the file is damaged or of a kind nobody expected; export it anew"
        raise ReadError(msg, reason="undecodable", hint=hint) from error


def is_own(error: BaseException) -> bool:
    """Whether an exception was raised by a line of this project, not by a library."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return True
    last = Path(frames[-1].filename)
    return any(room in last.parents for room in OWN_ROOMS)
