"""How often a frozen set was looked at: each look spends some of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from medvit import atomic
from medvit.registry.locks import locked

LOOKS_FILE = "looks.json"


def count_look(folder: Path, *, frozen_sha256: str, challenger: str) -> int:
    """Write a look down, and return the how manieth challenger this is at a frozen set.

    The same challenger may be looked at again: that tells nothing new.

    Args:
        folder: Of the gate.
        frozen_sha256: Of the frozen set.
        challenger: Its `model_key`.

    Raises:
        ModelError: If the folder cannot be written to.
    """
    file = folder / LOOKS_FILE
    with locked(folder):
        looks = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        seen = looks.setdefault(frozen_sha256, {})
        now = datetime.now(UTC).isoformat(timespec="seconds")
        seen.setdefault(challenger, {"look": len(seen) + 1, "at": now})
        atomic.write_text(file, json.dumps(looks, indent=1) + "\n")
        return int(seen[challenger]["look"])
