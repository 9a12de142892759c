"""Where a conversion goes: the format that a name means, and what may be written over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medvit.errors import InputError
from medvit.io.case import Case
from medvit.io.writing.formats import WRITERS, ending_of, files_of

GROUP_FILE = "zarr.json"
"""What tells an OME-Zarr folder from any other folder."""


@dataclass(frozen=True, slots=True)
class Target:
    """One file, or a folder with a file for each case.

    Attributes:
        path: The file (or OME-Zarr folder), or the folder of many.
        ending: What decides the format, with its dot.
        is_single: Whether `path` is the one thing to write.
    """

    path: Path
    ending: str
    is_single: bool

    def path_of(self, case: Case) -> Path:
        """Return where a case goes; its name in a folder is its hashed id."""
        return self.path if self.is_single else self.path / (case.case_id + self.ending)


def choose_target(source: Path, path: Path, wanted: str) -> Target:
    """Return what DST and `--format` mean together.

    Args:
        wanted: An ending with or without its first dot; empty to go by the name.

    Raises:
        InputError: If they mean nothing, contradict each other, or lead into the source.
    """
    named = ending_of(path)
    ending = f".{wanted.lower().removeprefix('.')}" if wanted else named
    endings = ", ".join(WRITERS)
    if ending is None:
        msg = f"{path.name}: its ending names no format"
        hint = f"end DST in one of {endings}; or give a folder and --format for every case of SRC"
        raise InputError(msg, hint=hint)
    if ending not in WRITERS:
        msg = f"--format {wanted}: no such format"
        raise InputError(msg, hint=f"formats: {endings}")
    if named not in (None, ending):
        msg = f"{path.name} is a {named} file, but --format says {ending}"
        raise InputError(msg, hint="leave --format out, or give a folder as DST")
    if named is None and path.resolve().is_relative_to(source.resolve()):
        msg = f"{path}: lies in {source}, so a second run would find its own files"
        raise InputError(msg, hint="name a folder elsewhere as DST")
    return Target(path, ending, is_single=named is not None)


def is_there(path: Path) -> bool:
    """Return whether all that a volume is written to under a name is there."""
    return all(part.exists() for part in files_of(path))


def check_free(path: Path, *, force: bool) -> None:
    """Refuse to write over what is there, unless it is forced and of the same kind.

    Raises:
        InputError: If something would be lost.
    """
    taken = [part for part in files_of(path) if part.exists() or part.is_symlink()]
    if taken and not force:
        msg = f"{taken[0]}: is there already"
        raise InputError(msg, hint="give --force to replace it, or another name")
    for part in taken:
        if part.is_dir() and not (part / GROUP_FILE).is_file():
            msg = f"{part}: is a folder that no conversion made, and is not replaced"
            raise InputError(msg, hint="give another name, or remove it yourself")


def make_folder(folder: Path) -> None:
    """Create the folder that a conversion writes to.

    Raises:
        InputError: If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(path: Path, error: OSError) -> InputError:
    """Return the error for a place that the system does not let be written."""
    msg = f"{path}: cannot be written ({error.strerror or type(error).__name__})"
    return InputError(msg, hint="check the rights and the free space, or name another place")
