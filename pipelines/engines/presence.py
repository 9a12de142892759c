"""What a machine says of itself when a scan asks whether it can help; needs no torch."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import medvit


@dataclass(frozen=True, slots=True)
class Demand:
    """What a scan needs of a machine.

    Attributes:
        paths: Files and folders to be read.
        folders: Folders to be written, each with a file of the name and content `token`.
    """

    paths: tuple[str, ...]
    folders: tuple[str, ...]
    token: str


def look_around(demand: Demand, dask_worker: Any = None) -> dict[str, Any]:
    """Return version, machine, memory limit, and what cannot be seen or written here.

    Args:
        dask_worker: The worker that runs this, put in by dask.
    """
    limit = None if dask_worker is None else dask_worker.memory_manager.memory_limit
    return {
        "version": medvit.__version__,
        "host": socket.gethostname(),
        "memory_bytes": limit,
        "unseen": [path for path in demand.paths if not os.access(path, os.R_OK)],
        "foreign": [folder for folder in demand.folders if not _is_same(Path(folder), demand)],
        "unwritable": [folder for folder in demand.folders if not _can_write(Path(folder))],
    }


def version_here() -> str:
    """Return the version of medvit."""
    return medvit.__version__


def _is_same(folder: Path, demand: Demand) -> bool:
    """Whether a folder is the one of the scan, not another of the same name."""
    try:
        return (folder / demand.token).read_text(encoding="ascii") == demand.token
    except OSError:
        return False


def _can_write(folder: Path) -> bool:
    trial = folder / f".trial-{secrets.token_hex(8)}"
    try:
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError:
        return False
    return True
