"""DICOMDIR: the table of contents of a medium (PS3.3, annex F).

Its references are compared with the files that are there; no path is ever made of them.
"""

from __future__ import annotations

from pathlib import Path

from medvit.errors import ReadError
from medvit.io.dicom.elements import (
    DIRECTORY_RECORDS,
    WINDOW_BYTES,
    DicomSyntaxError,
    Elements,
    read_items,
    walk,
    walk_meta,
)
from medvit.io.dicom.header import read_header
from medvit.io.dicom.values import TAGS
from medvit.io.os_errors import unreadable

MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR: a table of contents, not a case."""


def referenced_files(path: Path) -> frozenset[str]:
    """Return the files that a DICOMDIR lists, relative to its folder, in capitals.

    Raises:
        ReadError: If it cannot be opened or followed.
    """
    try:
        with path.open("rb") as file:
            elements = Elements(file, file.read(WINDOW_BYTES))
            start = walk_meta(elements).end
            found = walk(elements, start, frozenset({DIRECTORY_RECORDS}), is_implicit=False)
            if DIRECTORY_RECORDS not in found.sequences:
                return frozenset()
            wanted = frozenset({TAGS["ReferencedFileID"]})
            records = read_items(
                elements, found.sequences[DIRECTORY_RECORDS], wanted, is_implicit=False
            )
    except OSError as error:
        raise unreadable(path, error) from error
    except DicomSyntaxError as error:
        msg = f"{path.name}: cannot be parsed as DICOM ({error})"
        raise ReadError(msg, reason="not_dicom", hint="export the medium again") from error
    ids = (record.values.get(TAGS["ReferencedFileID"], b"") for record in records)
    return frozenset(_relative_name(each) for each in ids if each.strip(b" \0"))


def is_media_directory(path: Path) -> bool:
    """Return whether a file is a table of contents that lists files.

    Raises:
        ReadError: If it cannot be opened or followed.
    """
    try:
        is_directory = read_header(path).sop_class == MEDIA_DIRECTORY
    except ReadError:
        return False  # whatever it is, it is judged elsewhere
    return is_directory and bool(referenced_files(path))


def is_listed(path: Path, folder: Path, listed: frozenset[str]) -> bool:
    """Return whether a file below a folder is among those that its DICOMDIR lists.

    Names are compared without case and without the version that some media append.
    """
    name = path.relative_to(folder).as_posix().upper()
    return name in listed or name.partition(";")[0].rstrip(".") in listed


def _relative_name(raw: bytes) -> str:
    parts = raw.decode("latin-1").strip(" \0").split("\\")
    return "/".join(part.strip(" ") for part in parts).upper()
