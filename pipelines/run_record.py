"""`run.json`: what a run was asked, with what it ran, and how it ended."""

from __future__ import annotations

import json
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import medvit
from medvit import atomic
from medvit.resources import PACKAGE

RUN_FILE = "run.json"


def environment() -> dict[str, Any]:
    """Return what a run ran on: versions, commit and time; no name of person or machine."""
    return {
        "version": medvit.__version__,
        "commit": git_commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_run_record(folder: Path, record: dict[str, Any]) -> None:
    """Write `run.json` into a folder, whole or not at all."""
    text = json.dumps({**environment(), **record}, indent=2, ensure_ascii=False, default=str)
    atomic.write_text(folder / RUN_FILE, text + "\n")


def git_commit() -> str | None:
    """Return the commit of the checkout that the package runs from, None outside of one."""
    checkout = PACKAGE.parent
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
