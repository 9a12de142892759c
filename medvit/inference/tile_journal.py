"""The maps of finished tiles of one case on disk, so that an interruption costs one at most.

    file    header, slot, slot, ...
    header  magic, format, SHA-256 of the key, type and shape of a map, CRC-32
    slot    number of the tile, map in C order, CRC-32 that goes on from the header's

Slots are of one length and only ever added. One that is altered or torn counts as not
there and spoils no other. A header that is altered, or of another key or format, starts
the file anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from medvit.errors import InputError, ReadError

FORMAT = 1
"""Raise this when the file changes its form."""

HELD_BYTES = 256 * 2**20
"""Default room in memory for maps that the disk does not take."""

MAGIC = b"medvtile"
HEADER = struct.Struct("<8sI32s4s4I")
NUMBER = struct.Struct("<I")
CRC = struct.Struct("<I")
HEADER_BYTES = HEADER.size + CRC.size
TYPES = ("<f2", "<f4", "<f8")

Maps = npt.NDArray[np.floating[Any]]
logger = logging.getLogger(__name__)


class TileJournal:
    """Maps by number of their tile, all of one shape, in one file that this process owns.

    A map is with the system when `add` returns, so it outlives the process; after a power
    cut the last ones may be missing. A disk that cannot be written, or is full, ends no
    scan: one warning, and maps stay in memory as far as there is room for them.

    Args:
        path: The file; its folder is made if need be.
        key: Text that names all that determines the maps; with another the file starts anew.
        held_bytes: Room in memory for maps that the disk does not take.

    Raises:
        InputError: If the file is in use already.
    """

    def __init__(self, path: Path, *, key: str, held_bytes: int = HELD_BYTES) -> None:
        self._path = path
        self._digest = hashlib.sha256(key.encode()).digest()
        self._held_bytes = held_bytes
        self._held: dict[int, Maps] = {}
        self._slots: dict[int, int] = {}
        self._slots_used = 0
        self._form: _Form | None = None
        self._file: int | None = None
        self._has_warned = False
        try:
            self._file = _open_locked(path)
            self._read_slots(self._file)
        except OSError as error:
            self._warn(error)
            self.close()

    def add(self, number: int, maps: Maps) -> bool:
        """Keep the map of a finished tile; one that is there under the number is replaced.

        Returns:
            Whether it is kept. It is not when the disk does not take it and there is no
            room in memory either: whoever needs it makes it again.

        Raises:
            ValueError: If the map has not the type and shape of those before, or the
                number is not one of 32 bits.
        """
        form = _Form.of(maps, self._digest)
        if self._form not in {None, form} or not 0 <= number < 2**32:
            msg = f"a tile journal of {self._form} cannot hold {form} as number {number}"
            raise ValueError(msg)
        stored = np.ascontiguousarray(maps, dtype=form.dtype)
        if self._file is not None:
            try:
                self._append(self._file, number, stored, form)
            except OSError as error:
                self._warn(error)
            else:
                self._held.pop(number, None)
                return True
        self._form = form
        return self._hold(number, stored)

    def load(self, number: int) -> Maps:
        """Return the map of a tile, read-only and to the bit what was added.

        Raises:
            KeyError: If it is not there.
            ReadError: With the reason `unreadable`, if the file was altered since it was
                opened, or cannot be read.
        """
        if number in self._held:
            return self._held[number]
        slot = self._slots[number]
        if self._file is None or self._form is None:
            msg = f"{self._path.name} is closed"
            raise ValueError(msg)
        try:
            found = self._form.read(self._file, slot)
        except OSError as error:
            raise self._unreadable(number, error.strerror or "read error") from error
        if found is None or found[0] != number:
            raise self._unreadable(number, "altered by somebody else")
        return found[1]

    def numbers(self) -> frozenset[int]:
        """Return the numbers of all tiles whose maps are there."""
        return frozenset(self._slots) | frozenset(self._held)

    def remove(self) -> None:
        """Delete the file and forget all maps: the case is finished."""
        if self._file is not None:
            with suppress(OSError):  # a journal that stays only takes up space
                self._path.unlink()
        self.close()

    def close(self) -> None:
        """Let go of the file, and of the maps in memory; what is on the disk stays."""
        if self._file is not None:
            os.close(self._file)
        self._file = None
        self._slots.clear()
        self._held.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read_slots(self, file: int) -> None:
        """Find what is there, and cut off what follows the last sound slot."""
        self._form = form = _Form.parse(os.pread(file, HEADER_BYTES, 0), self._digest)
        if form is None:
            os.ftruncate(file, 0)
            return
        for slot in range(form.slots_in(os.fstat(file).st_size)):
            found = form.read(file, slot)
            if found is not None:
                self._slots[found[0]] = slot
                self._slots_used = slot + 1
        os.ftruncate(file, form.offset(self._slots_used))

    def _append(self, file: int, number: int, stored: Maps, form: _Form) -> None:
        if self._slots_used == 0:
            _write(file, form.header, 0)
        start = form.offset(self._slots_used)
        try:
            _write(file, form.slot(number, stored), start)
        except OSError:
            with suppress(OSError):  # a torn slot is no slot; this only frees its space
                os.ftruncate(file, start)
            raise
        self._form = form
        self._slots[number] = self._slots_used
        self._slots_used += 1

    def _hold(self, number: int, stored: Maps) -> bool:
        others = sum(maps.nbytes for n, maps in self._held.items() if n != number)
        if others + stored.nbytes > self._held_bytes:
            return False
        self._held[number] = stored.copy()
        self._held[number].setflags(write=False)
        return True

    def _warn(self, error: OSError) -> None:
        if not self._has_warned:
            logger.warning(
                "%s cannot be written (%s): finished tiles stay in memory, at most %.0f MiB of "
                "them, and are lost when the scan is interrupted; free some space",
                self._path.name,
                error.strerror or type(error).__name__,
                self._held_bytes / 2**20,
            )
        self._has_warned = True

    def _unreadable(self, number: int, why: str) -> ReadError:
        msg = f"{self._path.name}: the map of tile {number} cannot be read back: {why}"
        hint = "run the same command again: it makes anew what is missing"
        return ReadError(msg, reason="unreadable", hint=hint)


@dataclass(frozen=True, slots=True)
class _Form:
    """What all slots of a file have in common.

    Attributes:
        dtype: One of `TYPES`.
        shape: Of a map, (c, z, y, x).
        header: The bytes before the first slot.
    """

    dtype: str
    shape: tuple[int, ...]
    header: bytes

    def __str__(self) -> str:
        return f"{np.dtype(self.dtype).name} maps of shape {self.shape}"

    @classmethod
    def of(cls, maps: Maps, digest: bytes) -> Self:
        """Return the form of a map.

        Raises:
            ValueError: If it is no array of floats with four axes.
        """
        dtype = maps.dtype.newbyteorder("<").str
        if dtype not in TYPES or maps.ndim != 4 or maps.size == 0:
            msg = f"a tile map needs floats (c, z, y, x), got {maps.dtype.name} {maps.shape}"
            raise ValueError(msg)
        header = HEADER.pack(MAGIC, FORMAT, digest, dtype.encode(), *maps.shape)
        return cls(dtype, maps.shape, header + CRC.pack(zlib.crc32(header)))

    @classmethod
    def parse(cls, header: bytes, digest: bytes) -> Self | None:
        """Return the form that a header tells; None if it is torn, altered or not ours."""
        if len(header) < HEADER_BYTES or CRC.unpack_from(header, HEADER.size)[0] != zlib.crc32(
            header[: HEADER.size]
        ):
            return None
        magic, version, key, dtype, *shape = HEADER.unpack_from(header)
        if (magic, version, key) != (MAGIC, FORMAT, digest):
            return None
        return cls(dtype.rstrip(b"\0").decode("ascii"), tuple(shape), header)

    @property
    def slot_bytes(self) -> int:
        """Length of a slot."""
        return NUMBER.size + prod(self.shape) * np.dtype(self.dtype).itemsize + CRC.size

    def offset(self, slot: int) -> int:
        """Return where a slot begins."""
        return HEADER_BYTES + slot * self.slot_bytes

    def slots_in(self, file_bytes: int) -> int:
        """Return how many whole slots a file holds."""
        return (file_bytes - HEADER_BYTES) // self.slot_bytes

    def slot(self, number: int, maps: Maps) -> bytes:
        """Return the bytes of a slot."""
        content = NUMBER.pack(number) + maps.tobytes()
        return content + CRC.pack(self._crc(content))

    def read(self, file: int, slot: int) -> tuple[int, Maps] | None:
        """Return number and map of a slot; None if it is torn or altered.

        Raises:
            OSError: If the file cannot be read.
        """
        held = memoryview(os.pread(file, self.slot_bytes, self.offset(slot)))
        content, checksum = held[: -CRC.size], held[-CRC.size :]
        if len(held) < self.slot_bytes or CRC.unpack(checksum)[0] != self._crc(content):
            return None
        values = np.frombuffer(content[NUMBER.size :], dtype=self.dtype)
        return NUMBER.unpack_from(content)[0], values.reshape(self.shape)

    def _crc(self, content: bytes | memoryview) -> int:
        return zlib.crc32(content, CRC.unpack_from(self.header, HEADER.size)[0])


def _open_locked(path: Path) -> int:
    """Open a file for this process alone; made when it is not there.

    Raises:
        InputError: If it is in use.
        OSError: If it cannot be opened or locked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(file)
            msg = f"the tile journal {path.name} is in use by another scan"
            hint = "wait for it, or choose another --out"
            raise InputError(msg, hint=hint) from error
        except OSError:
            os.close(file)
            raise
        if os.fstat(file).st_nlink > 0:
            return file
        os.close(file)  # its last owner removed it between opening and locking


def _write(file: int, content: bytes, start: int) -> None:
    """Write all of it at a place, however small the bites the system takes."""
    rest = memoryview(content)
    while rest:
        written = os.pwrite(file, rest, start)
        rest, start = rest[written:], start + written
