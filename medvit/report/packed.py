"""What files hold, opened to the end: members of archives, rows of databases, inflated DICOM."""

from __future__ import annotations

import gzip
import io
import os
import sqlite3
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

MOST_UNPACKED_BYTES = 1 << 28
"""What one member of an archive may become; a bomb ends there and counts as unreadable."""

MOST_STREAMED_BYTES = 1 << 33
"""What a gzip file may become; it is read in parts, and never held."""

MOST_MEMBERS = 100_000
DEEPEST = 3
"""Archives within archives that are opened."""

HEAD_BYTES = 1024
DEFLATED = b"1.2.840.10008.1.2.1.99"

PACKED_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    zlib.error,
    zipfile.BadZipFile,
    tarfile.TarError,
    sqlite3.Error,
)
"""What broken, encrypted or far too large files raise here."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file.

    Attributes:
        member: Its name in an archive, after `!`; empty for the file itself.
        where: Table and column of a database; empty elsewhere.
        stream: Its bytes.
    """

    member: str
    where: str
    stream: IO[bytes]


def iter_all_files(root: Path) -> Iterator[Path]:
    """Yield every file below a folder, hidden ones too; links are not followed.

    Raises:
        OSError: If a folder cannot be listed.
    """
    if root.is_file():
        yield root
        return

    def give_up(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(root, onerror=give_up):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path


def iter_pieces(path: Path) -> Iterator[Piece]:
    """Yield a file, and what is packed in it; cells of a database come before its bytes.

    Raises:
        Exception: One of `PACKED_ERRORS`, if it is broken or unpacks to too much.
    """
    if _head(path).startswith(b"SQLite format 3\0"):
        yield from _cells(path)
    with path.open("rb") as stream:
        yield from _pieces(stream, "", depth=0)


def _pieces(stream: IO[bytes], member: str, *, depth: int) -> Iterator[Piece]:
    head = stream.read(HEAD_BYTES)
    stream.seek(0)
    yield Piece(member, "", stream)
    stream.seek(0)
    opener = _opener_of(head)
    if opener is None:
        return
    if depth == DEEPEST:
        msg = f"archives within archives, more than {DEEPEST} deep"
        raise ValueError(msg)
    for number, (name, content) in enumerate(opener(stream)):
        if number == MOST_MEMBERS:
            msg = f"an archive of more than {MOST_MEMBERS} members"
            raise ValueError(msg)
        yield from _pieces(content, f"{member}!{name}", depth=depth + 1)


Opener = Callable[[IO[bytes]], Iterator[tuple[str, IO[bytes]]]]


def _opener_of(head: bytes) -> Opener | None:
    if head.startswith(b"PK\x03\x04"):
        return _open_zip
    if head.startswith(b"\x1f\x8b"):
        return _open_gzip
    if head[257:262] == b"ustar":
        return _open_tar
    if head[128:132] == b"DICM" and DEFLATED in head:
        return _open_deflated
    return None


def _open_zip(stream: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(stream) as archive:
        for entry in archive.infolist():
            if not entry.is_dir():
                with archive.open(entry) as member:
                    yield entry.filename, _bounded(member)


def _open_gzip(stream: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    with _BoundedGzip(fileobj=stream, mode="rb") as content:
        yield "content", cast("IO[bytes]", content)


class _BoundedGzip(gzip.GzipFile):
    """A gzip file that gives up where it would never end."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > MOST_STREAMED_BYTES:
            raise _too_large(MOST_STREAMED_BYTES)
        return super().read(size)


def _open_tar(stream: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        for entry in archive:
            member = archive.extractfile(entry)
            if member is not None:
                yield entry.name, _bounded(member)


def _open_deflated(stream: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    content = stream.read()
    # Group length (0002,0000), the first element: bytes of file meta after it (PS3.10 7.1).
    start = 144 + int.from_bytes(content[140:144], "little")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    yield "data set", _limited(inflater.decompress(content[start:], MOST_UNPACKED_BYTES + 1))


def _bounded(stream: IO[bytes]) -> IO[bytes]:
    return _limited(stream.read(MOST_UNPACKED_BYTES + 1))


def _limited(content: bytes) -> IO[bytes]:
    if len(content) > MOST_UNPACKED_BYTES:
        raise _too_large(MOST_UNPACKED_BYTES)
    return io.BytesIO(content)


def _too_large(most_bytes: int) -> ValueError:
    return ValueError(f"a packed file of more than {most_bytes} bytes")


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(16)


def _cells(path: Path) -> Iterator[Piece]:
    """Yield every text and blob of a database: long ones lie in parts in the file itself."""
    # Opened as immutable so that nothing is written beside it; a journal is a file of its own.
    uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        database.text_factory = bytes
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in names:
            quoted = table.decode("utf-8", "replace").replace('"', '""')
            rows = database.execute(f'SELECT * FROM "{quoted}"')
            columns = [column[0] for column in rows.description]
            for row in rows:
                for column, cell in zip(columns, row, strict=True):
                    if isinstance(cell, bytes):
                        yield Piece("", f"table {quoted}, column {column}", io.BytesIO(cell))
