"""What can go wrong in a way that a caller can act on."""

from __future__ import annotations

from typing import ClassVar

CPU_ALLOCATOR_WORDS = "can't allocate memory"
"""How torch says it on the host, in a RuntimeError."""


class MedvitError(Exception):
    """An error with a sentence for people and a way out.

    Attributes:
        code: Short name of the kind of error; part of the JSON contract.
        message: The rule, the value found and the file or id.
        hint: What to do about it; may be empty.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(MedvitError):
    """The input cannot be used at all: a missing path, a port that is taken."""

    code = "input"


class ConfigError(MedvitError):
    """A configuration that breaks its own rules."""

    code = "config"


class NothingToDoError(MedvitError):
    """There is no case, or no new label, to work on."""

    code = "nothing_to_do"


class StoreError(MedvitError):
    """The store cannot be opened, or refuses what it was asked."""

    code = "store"


class StoreConflictError(StoreError):
    """Somebody else decided about the same thing since it was read."""

    code = "store_conflict"


class AccessError(StoreError):
    """The role of a reader does not allow what was asked."""

    code = "access"


class ModelError(MedvitError):
    """A model that is unknown, altered or does not match."""

    code = "model"


class GateRefusedError(MedvitError):
    """A gate (promotion, parity, evaluation floor) said no."""

    code = "gate_refused"


class ReadError(MedvitError):
    """One case cannot be read or trusted; the rest of a folder goes on.

    Attributes:
        reason: A reason code of the contract, such as `truncated`.
    """

    code = "read"

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on the host or a device."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and CPU_ALLOCATOR_WORDS in str(error)
