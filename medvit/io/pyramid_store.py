"""Pyramids on disk, shared by processes and bounded in bytes."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOSPC
from pathlib import Path

PYRAMIDS_BYTES = 16 * 1024**3
"""Default bound: about 80 packed chest scans of 400 slices at 512x512, or 300 that are not."""

_KEY = re.compile(r"[0-9a-f]{16,64}")
_DRAFT_PREFIX = ".draft-"
_LOCK_NAME = ".lock"


class PyramidStore:
    """Folders by key in a folder that may be deleted at any time.

    A folder appears whole, by a rename, and goes as a whole, the least recently used
    first. One that is being read may go too: its reader meets missing files. Drafts are
    locked by the processes that fill them; those of processes that were killed are removed.
    Nothing is forced onto the disk: what a power cut tears is told by its check sums.
    """

    def __init__(self, folder: Path, *, max_bytes: int = PYRAMIDS_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def find(self, key: str) -> Path | None:
        """Return the folder of a key, which counts as used now; None when it is not there."""
        folder = self._path_of(key)
        try:
            os.utime(folder)
        except OSError:
            return folder if folder.is_dir() else None  # a cache may be readable only
        return folder

    @contextmanager
    def draft(self, key: str) -> Iterator[Path]:
        """Yield a path for a folder to be made; at the end it is what the key means.

        When another process was faster, its folder stays and the draft goes. What else ends
        the block, an interruption too, leaves nothing.

        Raises:
            OSError: If the folder cannot be written, is full, or larger than the bound.
        """
        target = self._path_of(key)
        with self._new_draft() as draft:
            content = draft / "content"
            yield content
            size = _bytes_below(content)
            if size > self._max_bytes:
                raise OSError(ENOSPC, f"{size} bytes, at most {self._max_bytes} are kept")
            with self._locked():
                self._make_room(size)
                if not target.is_dir():
                    content.rename(target)
                os.utime(target)

    def discard(self, key: str) -> None:
        """Remove what a key means: it proved to be broken.

        Raises:
            OSError: If the folder cannot be written.
        """
        if self._path_of(key).is_dir():
            with self._locked():
                self._remove(self._path_of(key))

    def held_bytes(self) -> int:
        """Return the bytes of all files that are kept, without drafts."""
        return sum(map(_bytes_below, self._kept()))

    def _path_of(self, key: str) -> Path:
        if _KEY.fullmatch(key) is None:
            msg = f"a pyramid has a hexadecimal key, got {key!r}"
            raise ValueError(msg)
        return self._folder / key

    def _kept(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return [path for path in self._folder.iterdir() if _KEY.fullmatch(path.name)]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def _new_draft(self) -> Iterator[Path]:
        """Make a folder that is locked as long as this process fills it."""
        with self._locked():
            self._remove_abandoned()
            draft = self._folder / f"{_DRAFT_PREFIX}{secrets.token_hex(8)}"
            draft.mkdir()
            lock = os.open(draft, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            os.close(lock)

    def _remove_abandoned(self) -> None:
        for draft in self._folder.glob(f"{_DRAFT_PREFIX}*"):
            with suppress(FileNotFoundError):  # its process removed it just now
                lock = os.open(draft, os.O_RDONLY)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(draft, ignore_errors=True)
                except BlockingIOError:
                    continue
                finally:
                    os.close(lock)

    def _make_room(self, size: int) -> None:
        oldest_first = sorted(self._kept(), key=lambda path: path.stat().st_mtime_ns)
        sizes = {path: _bytes_below(path) for path in oldest_first}
        total = sum(sizes.values())
        for path in oldest_first:
            if total + size <= self._max_bytes:
                return
            self._remove(path)
            total -= sizes[path]

    def _remove(self, folder: Path) -> None:
        """Take a folder out of sight first, so that no one meets half of it."""
        gone = self._folder / f"{_DRAFT_PREFIX}{secrets.token_hex(8)}"
        with suppress(FileNotFoundError):  # somebody deleted the cache
            folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _bytes_below(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # somebody deleted the cache
                total += os.stat(os.path.join(parent, name)).st_size  # noqa: PTH116, PTH118
    return total
