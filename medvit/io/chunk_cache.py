"""Decoded pieces of volumes on disk, shared by processes and bounded in bytes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

CHUNK_CACHE_BYTES = 8 * 1024**3
"""Default bound: about 27 chest scans of 600 slices at 512x512 and 16 bit."""

FORMAT_VERSION = 1
"""Goes into every key; raise it when what a chunk holds, or how, changes."""

HEADER_BYTES = 128
"""Room before the values of a chunk for their type and shape, as JSON padded with blanks."""

SPARE_SHARE = 8
"""Eviction stops at one part in so many below the bound, so that it is not due at every write."""

_KEY = re.compile(r"[0-9a-f]{16,64}")
_DRAFT_PREFIX = ".draft-"
_LOCK_NAME = ".lock"

Chunk = npt.NDArray[Any]
_log = logging.getLogger(__name__)


def chunk_key(*paths: Path, scheme: str) -> str:
    """Return the key of what is decoded from files as they are now.

    A file that is written again, touched or moved has another key; nothing that a
    file says about itself goes into it.

    Args:
        paths: The files, in the order in which chunks are numbered.
        scheme: How chunks are made of them, with a version: `"gzip-planes-1"`.

    Raises:
        OSError: If a file is missing.
    """
    digest = hashlib.sha256(f"{FORMAT_VERSION}\0{scheme}".encode())
    for path in paths:
        state = path.stat()
        digest.update(b"\0" + os.fsencode(path.resolve()))
        digest.update(f"\0{state.st_size}\0{state.st_mtime_ns}".encode())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class _Entry:
    """What one key holds.

    Attributes:
        used_ns: When a chunk of it was last read or written.
    """

    folder: Path
    used_ns: int
    held_bytes: int


class ChunkCache:
    """Arrays by key and number in a folder that may be deleted at any time.

    A chunk that is read is mapped, not copied; it stays valid when another process
    evicts it. Writers take turns by a lock that ends with its process. The bound holds
    at every moment; keys go as a whole, the least recently used first. A chunk that
    cannot be kept (too large, disk full) is only not kept: that never fails a read.
    """

    def __init__(self, folder: Path, *, max_bytes: int = CHUNK_CACHE_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._has_warned = False

    @property
    def max_bytes(self) -> int:
        """Most bytes of files ever held."""
        return self._max_bytes

    def get(self, key: str, number: int) -> Chunk | None:
        """Return a chunk, mapped and read-only, or None when it is not there.

        A file that is short or altered is removed and counts as not there.
        """
        path = self._path_of(key, number)
        try:
            with path.open("rb") as file:
                chunk = _mapped(file)
        except OSError:
            return None
        except (ValueError, TypeError, LookupError) as error:
            _log.warning("removed a broken chunk from the cache: %s", error)
            with suppress(OSError):  # another process may have removed it
                path.unlink()
            return None
        with suppress(OSError):  # the age is advice; the entry may be gone by now
            os.utime(path.parent)
        return chunk

    def put(self, key: str, number: int, chunk: Chunk) -> Chunk:
        """Keep a chunk and return it mapped; where it cannot be kept, as it is, read-only.

        What is there already under the key and number, of the same form, stays.
        """
        path = self._path_of(key, number)
        kept = self.get(key, number)
        if kept is not None and (kept.dtype, kept.shape) == (chunk.dtype, chunk.shape):
            return kept
        size = HEADER_BYTES + chunk.nbytes
        if chunk.nbytes > 0 and size <= self._max_bytes:
            try:
                with self._locked() as lock:
                    self._make_room(lock, size, key)
                    return self._written(path, chunk)
            except OSError as error:
                self._warn(error)
        unkept = chunk.view()
        unkept.setflags(write=False)
        return unkept

    def discard(self, key: str) -> None:
        """Remove all chunks of a key: what they were made of proved to be broken."""
        entry = self._path_of(key, 0).parent
        try:
            if entry.is_dir():
                with self._locked(), suppress(FileNotFoundError):  # evicted meanwhile
                    _remove(entry)
        except OSError as error:
            self._warn(error)

    def held_bytes(self) -> int:
        """Return the bytes of all files, counted while no other process writes."""
        if not self._folder.is_dir():
            return 0
        with self._locked():
            return sum(entry.held_bytes for entry in self._entries())

    def _path_of(self, key: str, number: int) -> Path:
        if _KEY.fullmatch(key) is None or number < 0:
            msg = f"a chunk has a hexadecimal key and a number from 0, got {key!r}, {number}"
            raise ValueError(msg)
        return self._folder / key / str(number)

    def _warn(self, error: OSError) -> None:
        if not self._has_warned:
            _log.warning("decoded volumes are not cached: %s", error.strerror or error)
        self._has_warned = True

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the lock file, whose content is how many bytes there are at most."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock
        finally:
            os.close(lock)

    def _make_room(self, lock: int, size: int, key: str) -> None:
        """Evict what must go for `size` more bytes, and count them before they are written."""
        total = _counted(lock)
        if total is None or total + size > self._max_bytes:
            total = self._evicted(size, key)
        os.pwrite(lock, f"{total + size:20d}".encode(), 0)

    def _evicted(self, size: int, key: str) -> int:
        """Remove the oldest entries, then chunks of the entry itself; return what is left."""
        for draft in self._folder.glob(f"{_DRAFT_PREFIX}*"):
            draft.unlink()  # left by a process that was killed: writers hold the lock
        entries = sorted(self._entries(), key=lambda entry: entry.used_ns)
        total = sum(entry.held_bytes for entry in entries)
        if total + size <= self._max_bytes:
            return total
        goal = max(self._max_bytes - self._max_bytes // SPARE_SHARE - size, 0)
        for entry in entries:
            if total > goal and entry.folder.name != key:
                _remove(entry.folder)
                total -= entry.held_bytes
        if total + size > self._max_bytes:
            total -= _shortened(self._folder / key, total - goal)
        return total

    def _entries(self) -> Iterator[_Entry]:
        for folder in self._folder.iterdir():
            if _KEY.fullmatch(folder.name):
                held_bytes = sum(state.st_size for _, state in _states(folder))
                yield _Entry(folder, folder.stat().st_mtime_ns, held_bytes)

    def _written(self, path: Path, chunk: Chunk) -> Chunk:
        """Write a chunk beside its place, map it, and only then give it its name."""
        form = json.dumps({"dtype": chunk.dtype.str, "shape": chunk.shape})
        descriptor, name = tempfile.mkstemp(prefix=_DRAFT_PREFIX, dir=self._folder)
        draft = Path(name)
        try:
            with os.fdopen(descriptor, "w+b") as file:
                file.write(form.encode().ljust(HEADER_BYTES))
                file.write(np.ascontiguousarray(chunk).data)
                file.flush()
                mapped = _mapped(file)
            path.parent.mkdir(exist_ok=True)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        return mapped


def _mapped(file: Any) -> Chunk:
    """Map the values of a chunk file; its length must be exactly what its header says."""
    file.seek(0)
    form = json.loads(file.read(HEADER_BYTES))
    dtype, shape = np.dtype(form["dtype"]), tuple(form["shape"])
    declared = HEADER_BYTES + dtype.itemsize * prod(shape)
    held = os.fstat(file.fileno()).st_size
    if dtype.kind not in "biuf" or min(shape) < 1 or declared != held:
        msg = f"{dtype} of shape {shape} in a file of {held} bytes"
        raise ValueError(msg)
    return np.memmap(file, dtype, mode="r", offset=HEADER_BYTES, shape=shape)


def _counted(lock: int) -> int | None:
    try:
        return int(os.pread(lock, 20, 0))
    except ValueError:
        return None


def _states(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with os.scandir(folder) as files:
        for file in files:
            with suppress(FileNotFoundError):  # a reader removed a broken one
                yield Path(file.path), file.stat()


def _remove(folder: Path) -> None:
    for path, _ in _states(folder):
        path.unlink(missing_ok=True)
    folder.rmdir()


def _shortened(folder: Path, excess: int) -> int:
    """Remove the oldest chunks of an entry; return the bytes that were freed."""
    freed = 0
    for path, state in sorted(_states(folder), key=lambda item: item[1].st_mtime_ns):
        if freed >= excess:
            break
        path.unlink(missing_ok=True)
        freed += state.st_size
    return freed
