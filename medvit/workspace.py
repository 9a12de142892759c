"""The workspace: one folder with the store, the models, the runs and the cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from medvit.errors import InputError

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder that medvit writes to; nothing is created before it is needed.

    Attributes:
        folder: The workspace itself.
        store: Database URL to use in place of `store.db` in the folder; may be empty.
    """

    folder: Path
    store: str = ""

    @property
    def store_url(self) -> str:
        """The URL of the store: the one given, or SQLite in the workspace."""
        return self.store or f"sqlite:///{self.folder.resolve() / 'store.db'}"

    @property
    def models(self) -> Path:
        """The registry's folder: `models/<name>/<version>`."""
        return self.folder / "models"

    @property
    def cache(self) -> Path:
        """What may be deleted at any time."""
        return self.folder / "cache"

    @property
    def neighbours(self) -> Path:
        """What scanned images look like to each model; a scan makes it anew."""
        return self.cache / "neighbours"

    def runs(self, command: str) -> Path:
        """Return the folder of all runs of a command."""
        return self.folder / "runs" / command

    def prepare(self) -> None:
        """Create the workspace.

        Raises:
            InputError: If the folder cannot be created or written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(self.folder, error) from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise _unusable(self.folder, PermissionError("no write permission"))

    def new_run(self, command: str) -> Path:
        """Create the next numbered run folder of a command and point `latest` at it.

        Two processes that ask at the same time get two folders.
        """
        self.prepare()
        runs = self.runs(command)
        try:
            folder = _next_folder(runs)
            _point_latest(runs, folder.name)
        except OSError as error:
            raise _unusable(self.folder, error) from error
        return folder

    def past_runs(self, command: str) -> list[Path]:
        """Return the run folders of a command, newest first."""
        runs = self.runs(command)
        return [runs / str(number) for number in sorted(_numbers(runs), reverse=True)]

    def take_up(self, run: Path) -> None:
        """Point `latest` at a run that goes on."""
        try:
            _point_latest(run.parent, run.name)
        except OSError as error:
            raise _unusable(self.folder, error) from error

    def latest_run(self, command: str) -> Path | None:
        """Return the run folder that `latest` names, by link or by text."""
        pointer = self.runs(command) / LATEST
        if pointer.is_file():
            return self.runs(command) / pointer.read_text(encoding="utf-8").strip()
        return pointer.resolve() if pointer.is_dir() else None


def _unusable(folder: Path, error: OSError) -> InputError:
    msg = f"the workspace {folder} cannot be used: {error.strerror or error}"
    return InputError(msg, hint="name a folder you may write to with --workspace")


def _numbers(runs: Path) -> list[int]:
    if not runs.is_dir():
        return []
    return [int(entry.name) for entry in runs.iterdir() if entry.name.isdecimal()]


def _next_folder(runs: Path) -> Path:
    runs.mkdir(parents=True, exist_ok=True)
    number = max(_numbers(runs), default=0) + 1
    while True:
        folder = runs / str(number)
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def _point_latest(runs: Path, name: str) -> None:
    """Make `latest` a link to a run, or a text file with its name where links fail."""
    fresh = runs / f".{LATEST}-{name}"
    try:
        fresh.symlink_to(name, target_is_directory=True)
    except (OSError, NotImplementedError):
        fresh.write_text(name + "\n", encoding="utf-8")
    fresh.replace(runs / LATEST)
