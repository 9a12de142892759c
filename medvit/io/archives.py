"""Zip archives of scans, unpacked in bounds and with no trust in the names inside."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import stat
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from medvit.errors import ReadError
from medvit.io.os_errors import is_system_error, unreadable

SUFFIX = ".zip"
MOST_MEMBERS = 100_000
MOST_BYTES = 32 << 30
"""What the members of one archive may hold together; a CT of 2,000 slices has 1 GiB."""

KEPT_FREE_BYTES = 1 << 30
"""Room left on the disk when an archive is unpacked."""

UNUSED_DAYS = 7
"""What was unpacked and not used for so long is removed when the next archive is unpacked."""

_FORMAT = "1"
_COPY_BYTES = 1 << 20


class Archives:
    """Unpacked archives, each once as long as it is unchanged; safe with several processes."""

    def __init__(self, folder: Path | None = None) -> None:
        """Keep what is unpacked in a folder; without one, until the process ends."""
        self._folder = folder

    def local(self, path: Path) -> Path:
        """Return where a file is on the disk: the path itself, or where it was unpacked to.

        Raises:
            ReadError: If the path leads into an archive that cannot be unpacked.
        """
        for parent in path.parents:
            if is_archive_name(parent) and parent.is_file():
                return self.unpack(parent) / path.relative_to(parent)
        return path

    def unpack(self, archive: Path) -> Path:
        """Return the folder with the members of an archive.

        Raises:
            ReadError: `unreadable`, `truncated`, `undecodable`, `too_large` or `bad_value`.
        """
        try:
            target = self._prepared() / _key(archive)
            if target.is_dir():
                os.utime(target)
                return target
            with zipfile.ZipFile(archive) as packed:
                members = _checked_members(archive, packed)
                _remove_unused(target.parent)
                _unpack_all(packed, members, target)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            msg = f"{archive.name}: the archive is cut short or altered"
            raise ReadError(msg, reason="truncated", hint="copy it again") from error
        except (NotImplementedError, RuntimeError, ValueError) as error:
            msg = f"{archive.name}: a kind of archive that cannot be read ({type(error).__name__})"
            raise ReadError(
                msg, reason="undecodable", hint="unpack it and scan the folder"
            ) from error
        except OSError as error:
            if is_system_error(error):
                raise unreadable(archive, error) from error
            msg = f"{archive.name}: the archive is altered"
            raise ReadError(msg, reason="truncated", hint="copy it again") from error
        return target

    def _prepared(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="medvit-archives-"))
            atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder


TEMPORARY = Archives()
"""For callers without a workspace."""


def is_archive_name(path: Path) -> bool:
    """Return whether the name of a file says that it is an archive."""
    return path.suffix.lower() == SUFFIX


def _key(archive: Path) -> str:
    state = archive.stat()
    parts = (_FORMAT, os.fspath(archive.resolve()), str(state.st_size), str(state.st_mtime_ns))
    return hashlib.sha256(os.fsencode("\0".join(parts))).hexdigest()[:32]


def _checked_members(archive: Path, packed: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the files of an archive.

    Raises:
        ReadError: If a name leads out of the archive, or there is more than may be unpacked.
    """
    members = [member for member in packed.infolist() if not member.is_dir()]
    if len(members) > MOST_MEMBERS:
        msg = f"{archive.name}: {len(members)} files in the archive, at most {MOST_MEMBERS}"
        raise ReadError(msg, reason="too_large", hint="unpack it and scan the folder")
    names = [_safe_name(archive, member) for member in members]
    if len(set(names)) < len(names):
        msg = f"{archive.name}: {len(names) - len(set(names))} names stand twice in the archive"
        raise ReadError(msg, reason="bad_value", hint="pack it again")
    if any(member.flag_bits & 0x1 for member in members):
        msg = f"{archive.name}: the archive is encrypted"
        raise ReadError(msg, reason="undecodable", hint="unpack it and scan the folder")
    total = sum(member.file_size for member in members)
    if total > MOST_BYTES:
        msg = f"{archive.name}: {total} bytes when unpacked, at most {MOST_BYTES}"
        raise ReadError(msg, reason="too_large", hint="unpack it and scan the folder")
    return members


def _safe_name(archive: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    name = PurePosixPath(member.filename)
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    odd = {"", ".", ".."} & set(name.parts) or any(set(part) & set("\\:\0") for part in name.parts)
    if name.is_absolute() or not name.parts or odd or is_link:
        msg = f"{archive.name}: a member leads out of the archive, or is a link"
        raise ReadError(msg, reason="bad_value", hint="do not trust this archive")
    return name


def _unpack_all(packed: zipfile.ZipFile, members: list[zipfile.ZipInfo], target: Path) -> None:
    """Unpack into a draft beside the target, and rename: half an archive is never met."""
    _check_room(target.parent, sum(member.file_size for member in members))
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=target.parent))
    try:
        for member in members:
            _unpack(packed, member, draft.joinpath(*PurePosixPath(member.filename).parts))
        draft.chmod(0o755)
        try:
            draft.rename(target)
        except OSError:
            if not target.is_dir():  # otherwise another process was faster
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _unpack(packed: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with packed.open(member) as source, path.open("xb") as file:
        shutil.copyfileobj(source, file, _COPY_BYTES)


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free - KEPT_FREE_BYTES
    if needed > free:
        msg = f"an archive needs {needed} bytes when unpacked, {max(free, 0)} are free"
        hint = "make room, or name a workspace on another disk"
        raise ReadError(msg, reason="too_large", hint=hint)


def _remove_unused(folder: Path) -> None:
    now = time.time()
    for path in _entries(folder):
        try:
            if now - path.stat().st_mtime > UNUSED_DAYS * 86400:
                shutil.rmtree(path)
        except FileNotFoundError:
            continue  # another process removed it


def _entries(folder: Path) -> Iterator[Path]:
    yield from (path for path in folder.iterdir() if path.is_dir())
