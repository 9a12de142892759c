"""A folder, nested and mixed, becomes cases; no pixel is read.

One DICOM series in one folder is one case: files are grouped by their folder and
their SeriesInstanceUID. That is not enough for a series spread over several folders
(each part is judged alone), nor for two reconstructions written under one UID; triage
names both by what is missing or double.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from medvit.errors import InputError, ReadError
from medvit.io.case import Case, Kind
from medvit.io.dicom_header import SliceHeader, read_header
from medvit.io.sniff import IMAGE_SUFFIXES, SNIFF_BYTES, claims_dicom, is_volume_name, kind_of
from medvit.io.walk import iter_files

MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR: a table of contents, not a case."""

FINGERPRINT_BYTES = 64 * 1024
"""How much of either end of a file goes into its fingerprint."""

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a folder holds.

    Attributes:
        cases: Sorted by source and series UID.
        other_files: Files that are no case: notes, tables of contents, unknown kinds.
    """

    cases: tuple[Case, ...]
    other_files: int


def discover(source: Path, *, progress: Progress | None = None) -> Discovery:
    """Find every case in a folder, or the one case in a file.

    Args:
        source: A folder or a file.
        progress: Called with the number of files looked at so far.

    Raises:
        InputError: If the path does not exist.
    """
    root = source.absolute()
    if not os.path.lexists(root):
        msg = f"{source}: no such file or folder"
        raise InputError(msg, hint="check the path; a disk may not be mounted")
    is_folder = root.is_dir()
    found = iter_files(root) if is_folder else (root,)
    search = _Search(root=root if is_folder else root.parent, is_named=not is_folder)
    for count, path in enumerate(found, start=1):
        search.look_at(path)
        if progress is not None:
            progress(count)
    return search.finish()


def case_id_of(kind: Kind, source: str, fingerprint: str) -> str:
    """Return the stable name of a case.

    Examples:
        >>> case_id_of("ct", "a", "x") == case_id_of("ct", "a", "x")
        True
    """
    digest = hashlib.sha256(f"{source}\0{fingerprint}".encode()).hexdigest()
    return f"{'ct' if kind == 'ct' else 'im'}-{digest[:12]}"


def file_fingerprint(path: Path) -> str:
    """Return a hash over size, first and last 64 KiB; empty when it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            digest = hashlib.sha256(str(size).encode())
            file.seek(0)
            digest.update(file.read(FINGERPRINT_BYTES))
            file.seek(max(0, size - FINGERPRINT_BYTES))
            digest.update(file.read(FINGERPRINT_BYTES))
    except OSError:
        return ""
    return digest.hexdigest()


def series_fingerprint(headers: Iterable[SliceHeader]) -> str:
    """Return a hash over the series UID and the sorted UIDs of its slices."""
    slices = sorted(headers, key=lambda header: header.sop_uid)
    parts = [slices[0].series_uid, *(header.sop_uid for header in slices)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(slots=True)
class _Search:
    """What was found so far.

    Attributes:
        root: Folder that sources are relative to.
        is_named: Whether the user named one file: then it is a case by itself.
    """

    root: Path
    is_named: bool
    cases: list[Case] = field(default_factory=list)
    series: dict[tuple[Path, str], list[SliceHeader]] = field(
        default_factory=lambda: defaultdict(list)
    )
    other_files: int = 0

    def look_at(self, path: Path) -> None:
        """Put one file where it belongs."""
        try:
            with path.open("rb", buffering=0) as file:
                kind = kind_of(path, file.read(SNIFF_BYTES))
        except OSError:
            self._add_file(path, _kind_by_name(path))
            return
        if kind == "other":
            self.other_files += 1
        elif kind == "dicom":
            self._add_dicom(path)
        else:
            self._add_file(path, "image" if kind == "image" else "ct")

    def finish(self) -> Discovery:
        """Turn the collected series into cases and sort all."""
        for (folder, series_uid), headers in self.series.items():
            source = self._source_of(headers[0].path if self.is_named else folder)
            files = tuple(sorted(header.path for header in headers))
            case_id = case_id_of("ct", source, series_fingerprint(headers))
            self.cases.append(Case(case_id, "ct", source, self.root, files, series_uid))
        cases = sorted(self.cases, key=lambda case: (case.source, case.series_uid))
        return Discovery(tuple(cases), self.other_files)

    def _add_dicom(self, path: Path) -> None:
        try:
            header = read_header(path)
        except ReadError:
            self._add_file(path, "ct")
            return
        if self._is_aside(path, header):
            self.other_files += 1
        elif header.series_uid and header.layout.rows > 0:
            self.series[path.parent, header.series_uid].append(header)
        else:
            self._add_file(path, "ct", header.series_uid)

    def _is_aside(self, path: Path, header: SliceHeader) -> bool:
        """Return whether a file is DICOM at most in form: a DICOMDIR, or a chance likeness."""
        if self.is_named or claims_dicom(path):
            return False
        is_empty = not header.has_meta and not header.modality and not header.layout.rows
        return is_empty or header.sop_class == MEDIA_DIRECTORY

    def _add_file(self, path: Path, kind: Kind, series_uid: str = "") -> None:
        source = self._source_of(path)
        case_id = case_id_of(kind, source, file_fingerprint(path))
        self.cases.append(Case(case_id, kind, source, self.root, (path,), series_uid))

    def _source_of(self, path: Path) -> str:
        """Return a path as text; bytes that are no UTF-8 are spelt out."""
        relative = path.relative_to(self.root).as_posix()
        return os.fsencode(relative).decode("utf-8", "backslashreplace")


def _kind_by_name(path: Path) -> Kind:
    is_image = path.suffix.lower() in IMAGE_SUFFIXES and not is_volume_name(path)
    return "image" if is_image else "ct"
