"""How often a frozen set was looked at: each look spends some of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medvit import atomic
from medvit.errors import ModelError
from medvit.registry.locks import locked

LOOKS_FILE = "looks.json"

Looks = dict[str, dict[str, dict[str, Any]]]
"""By frozen set and challenger: the number of the look, and when it was."""


def count_look(folder: Path, *, frozen_sha256: str, challenger: str) -> int:
    """Write a look down, and return the how manieth challenger this is at a frozen set.

    The same challenger may be looked at again: that tells nothing new.

    Args:
        folder: Of the gate.
        frozen_sha256: Of the frozen set.
        challenger: Its `model_key`.

    Raises:
        ModelError: If the folder cannot be written to, or the file was altered.
    """
    file = folder / LOOKS_FILE
    with locked(folder):
        looks = _read(file)
        seen = looks.setdefault(frozen_sha256, {})
        if challenger not in seen:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            seen[challenger] = {"look": len(seen) + 1, "at": now}
            atomic.write_text(file, json.dumps(looks, indent=1) + "\n")
        return int(seen[challenger]["look"])


def _read(file: Path) -> Looks:
    if not file.is_file():
        return {}
    try:
        looks = json.loads(file.read_text(encoding="utf-8"))
        for seen in looks.values():
            for each in seen.values():
                int(each["look"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        msg = f"{file}: the looks at frozen sets cannot be read ({error!r})"
        raise ModelError(
            msg, hint="restore it from a backup; without it looks count anew"
        ) from error
    return dict(looks)
