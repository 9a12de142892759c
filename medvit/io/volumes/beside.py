"""The file with the voxels that a header names, which must lie in the folder of the header."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from medvit.errors import ReadError
from medvit.io.os_errors import unreadable
from medvit.io.volumes.voxel_file import Stamp, stamp_of


def voxels_named(header: Path, name: str) -> tuple[Path, Stamp]:
    """Return the path and stamp of the file that a header names.

    Raises:
        ReadError: `bad_value` for a name that leads out of the folder of the header,
            `missing_data` where there is no such file.
    """
    parts = set(PurePosixPath(name).parts) | set(PureWindowsPath(name).parts)
    is_rooted = PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor
    if not name or is_rooted or ".." in parts or not name.isprintable():
        msg = f"{header.name}: the voxels must lie beside the header, not in {name[:80]!r}"
        raise ReadError(msg, reason="bad_value", hint="name a file in the folder of the header")
    path = header.parent / name
    try:
        with path.open("rb") as file:
            return path, stamp_of(file)
    except FileNotFoundError as error:
        msg = f"{header.name}: its voxels are missing, {name[:80]!r} is not there"
        raise ReadError(msg, reason="missing_data", hint="copy both files together") from error
    except OSError as error:
        raise unreadable(path, error) from error
