"""The folders that jobs of the review app may read: named by a lead or an admin."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from medvit import atomic
from medvit.errors import InputError
from medvit.workspace import Workspace

ROOTS_FILE = "job_roots.json"


def job_roots(workspace: Workspace) -> list[Path]:
    """Return the folders that jobs may read, as they were named.

    Raises:
        InputError: If the file that lists them was damaged.
    """
    return [Path(each["path"]) for each in _read(workspace)]


def allow_root(workspace: Workspace, folder: Path, *, by: str) -> None:
    """Let jobs read a folder and all below it.

    Raises:
        InputError: If it is no folder, or cannot be kept.
    """
    if not folder.is_absolute() or not folder.is_dir():
        msg = f"{folder}: a root is the absolute path of a folder that is there"
        raise InputError(msg, hint="type the whole path, as this machine knows it")
    known = _read(workspace)
    path = str(folder.resolve())
    if path not in [each["path"] for each in known]:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        _write(workspace, [*known, {"path": path, "by": by, "at": at}])


def forbid_root(workspace: Workspace, folder: Path) -> None:
    """Let no new job read a folder any more."""
    _write(workspace, [each for each in _read(workspace) if each["path"] != str(folder)])


def allowed_source(workspace: Workspace, text: str) -> Path:
    """Return a path that a job is to read, links followed.

    Raises:
        InputError: If it is not there, or lies below none of the roots.
    """
    path = Path(text.strip()).resolve()
    roots = job_roots(workspace)
    if not text.strip() or not any(path == root or root in path.parents for root in roots):
        msg = f"jobs read only below the {len(roots)} folders that were allowed, got {text!r}"
        raise InputError(msg, hint="a lead or an admin allows folders on the Runs page")
    if not path.exists():
        msg = f"{path}: no such file or folder"
        raise InputError(msg, hint="check the path")
    return path


def _read(workspace: Workspace) -> list[dict[str, str]]:
    file = workspace.folder / ROOTS_FILE
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        return [{"path": each["path"], "by": each["by"], "at": each["at"]} for each in known]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{file}: not a list of roots with path, by and at"
        raise InputError(msg, hint="remove the file and allow the folders anew") from error


def _write(workspace: Workspace, roots: list[dict[str, str]]) -> None:
    workspace.prepare()
    try:
        atomic.write_text(workspace.folder / ROOTS_FILE, json.dumps(roots, indent=2) + "\n")
    except OSError as error:
        msg = f"{workspace.folder}: the roots cannot be kept ({error.strerror})"
        raise InputError(msg, hint="free some space; nothing was changed") from error
