"""What was in production when, by whom and why: one line a change, each sealed to the last.

Each line of `history.jsonl` holds its own SHA-256 and that of the line before it, so a line
that was altered, dropped or put in shows.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from medvit import atomic
from medvit.errors import ModelError

HISTORY_FILE = "history.jsonl"
Action = Literal["promote", "rollback"]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of what a name means.

    Attributes:
        number: 1 for the first.
        action: Which way it went.
        name: Of the model.
        from_version: What the name meant before; empty if nothing.
        to_version: What it means from then on.
        weights_sha256: Of the weights of `to_version`.
        by: Who did it.
        reason: Why.
        at: When: ISO 8601 with its time zone.
        previous: `sha256` of the line before; empty in the first.
        sha256: Of all the fields above.
    """

    number: int
    action: Action
    name: str
    from_version: str
    to_version: str
    weights_sha256: str
    by: str
    reason: str
    at: str
    previous: str = ""
    sha256: str = ""

    def seal(self) -> str:
        """Return the hash that belongs to the fields."""
        values = {key: value for key, value in asdict(self).items() if key != "sha256"}
        text = json.dumps(values, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def read_history(file: Path) -> tuple[Change, ...]:
    """Return all changes, the oldest first; nothing if there is no file.

    A last line without its end was cut off by a crash before it counted, and is left out.

    Raises:
        ModelError: If a line was altered, is missing, or is none of ours; names it.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{file}: the history of production cannot be read ({error})"
        raise ModelError(msg) from error
    changes: list[Change] = []
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        change = _parsed(line)
        previous = changes[-1].sha256 if changes else ""
        if change is None or change.number != number or change.previous != previous:
            raise _altered(file, number)
        if change.seal() != change.sha256:
            raise _altered(file, number)
        changes.append(change)
    return tuple(changes)


def append_change(file: Path, change: Change) -> Change:
    """Write a change behind the others, and wait until it is on the disk; hold the lock.

    Returns:
        The change with number, `previous` and seal filled in.

    Raises:
        ModelError: If the history was altered, or cannot be written; it then stays as it was.
    """
    before = read_history(file)
    previous = before[-1].sha256 if before else ""
    values = asdict(change) | {"number": len(before) + 1, "previous": previous}
    values["sha256"] = Change(**values).seal()
    sealed = Change(**values)
    line = json.dumps(asdict(sealed), ensure_ascii=False) + "\n"
    whole = _whole_bytes(file)
    try:
        with file.open("ab", buffering=0) as stream:  # a buffer would be written again on closing
            os.ftruncate(stream.fileno(), whole)
            try:
                rest = memoryview(line.encode())
                while rest:
                    rest = rest[stream.write(rest) :]
                os.fsync(stream.fileno())
            except OSError:
                os.ftruncate(stream.fileno(), whole)
                raise
        atomic.sync_folder(file.parent)
    except OSError as error:
        msg = f"{file}: the change cannot be written down ({error.strerror})"
        raise ModelError(msg, hint="nothing was changed; free some space and try again") from error
    return sealed


def versions_back(changes: Sequence[Change]) -> tuple[str, ...]:
    """Return the versions that rolling back again and again would meet; the last one serves.

    Examples:
        >>> def change(action, old, new):
        ...     return Change(0, action, "m", old, new, "", "ann", "", "")
        >>> versions_back([change("promote", "1", "2"), change("promote", "2", "3")])
        ('1', '2', '3')
        >>> versions_back([change("promote", "1", "2"), change("rollback", "2", "1")])
        ('1',)
    """
    standing: list[str] = []
    for change in changes:
        if not standing and change.from_version:
            standing.append(change.from_version)
        if change.action == "rollback":
            standing.pop()
        elif standing[-1:] != [change.to_version]:
            standing.append(change.to_version)
    return tuple(standing)


def _parsed(line: str) -> Change | None:
    try:
        values: Any = json.loads(line)
    except json.JSONDecodeError:
        return None
    names = {field.name for field in fields(Change)}
    if not isinstance(values, dict) or set(values) != names:
        return None
    return Change(**values)


def _altered(file: Path, number: int) -> ModelError:
    msg = f"{file}, line {number}: this history of production was altered here or just before"
    return ModelError(msg, hint="restore the file from a backup; models are unharmed")


def _whole_bytes(file: Path) -> int:
    """Return the length of the lines that are whole."""
    if not file.exists():
        return 0
    return file.read_bytes().rfind(b"\n") + 1
