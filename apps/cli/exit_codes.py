"""What the exit code of a command says."""

from __future__ import annotations

from enum import IntEnum

from medvit import errors


class ExitCode(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    BUG = 1
    UNUSABLE = 2
    """Wrong usage or config, or input that cannot be used at all."""
    NOTHING_TO_DO = 3
    SOME_FAILED = 4
    """Done, but some cases were refused or failed."""
    ALL_FAILED = 5
    """Not one case could be done."""
    GATE_REFUSED = 6
    INTERRUPTED = 130
    """Stopped by a signal; the same command goes on."""


def code_of(error: errors.MedvitError) -> ExitCode:
    """Return the exit code that an error ends a command with."""
    if isinstance(error, errors.NothingToDoError):
        return ExitCode.NOTHING_TO_DO
    if isinstance(error, errors.GateRefusedError):
        return ExitCode.GATE_REFUSED
    return ExitCode.UNUSABLE
