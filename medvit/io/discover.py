"""A folder, nested and mixed, becomes cases; no pixel is read.

One DICOM series in one folder is one case: files are grouped by their folder and
their SeriesInstanceUID. That is not enough for a series spread over several folders
(each part is judged alone), nor for two reconstructions written under one UID; triage
names both by what is missing or double.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from medvit.errors import InputError, ReadError
from medvit.io.archives import TEMPORARY, Archives
from medvit.io.case import Case, Kind
from medvit.io.dicom.header import SliceHeader
from medvit.io.dicom.media_directory import MEDIA_DIRECTORY, is_listed, referenced_files
from medvit.io.peek import Peek, peek, peek_all
from medvit.io.sniff import IMAGE_SUFFIXES, claims_dicom, is_volume_name
from medvit.io.volumes.formats import is_volume_folder
from medvit.io.walk import iter_files

FINGERPRINT_BYTES = 64 * 1024
"""How much of either end of a file goes into its fingerprint."""

logger = logging.getLogger(__name__)

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


def discover(
    source: Path, *, archives: Archives = TEMPORARY, progress: Progress | None = None
) -> Discovery:
    """Find every case in a folder, in an archive, on a medium, or the one case in a file.

    Args:
        source: A folder, a zip archive, a DICOMDIR, or a file.
        archives: Where archives are unpacked.
        progress: Called with the number of files looked at so far.

    Raises:
        InputError: If the path does not exist.
    """
    root = source.absolute()
    if not os.path.lexists(root):
        msg = f"{source}: no such file or folder"
        raise InputError(msg, hint="check the path; a disk may not be mounted")
    search = _Search(root, archives, progress or (lambda _count: None))
    if not root.is_dir() or is_volume_folder(root):
        search.look_at_one(root)
    else:
        search.look_below(root)
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
        archives: Where archives are unpacked.
        series: Paths and headers of slices by folder and series UID.
        contents: Tables of contents (DICOMDIR).
        is_named: Whether the user named one file: then it is a case by itself.
    """

    root: Path
    archives: Archives
    progress: Progress
    is_named: bool = False
    looked_at: int = 0
    cases: list[Case] = field(default_factory=list)
    series: dict[tuple[Path, str], list[tuple[Path, SliceHeader]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    contents: list[Path] = field(default_factory=list)
    other_files: int = 0

    def look_at_one(self, path: Path) -> None:
        """Take one named file for a case, or open what it stands for."""
        self.root = path.parent
        seen = peek(path)
        if seen.kind == "archive":
            self._add(seen, path)
            return
        is_contents = seen.header is not None and seen.header.sop_class == MEDIA_DIRECTORY
        listed = _listed_in(path) if is_contents else frozenset()
        if listed:
            files = iter_files(self.root, is_whole=is_volume_folder)
            self._add_all(file for file in files if is_listed(file, self.root, listed))
            self._add_lost_contents(path)
            return
        self.is_named = True
        self._add(seen, path)
        self.progress(1)

    def look_below(self, folder: Path) -> None:
        """Look at everything in a folder."""
        self._add_all(iter_files(folder, is_whole=is_volume_folder))
        for path in self.contents:
            self._add_lost_contents(path)

    def finish(self) -> Discovery:
        """Turn the collected series into cases and sort all."""
        for (folder, series_uid), slices in self.series.items():
            source = self._source_of(slices[0][0] if self.is_named else folder)
            files = tuple(sorted(path for path, _ in slices))
            case_id = case_id_of("ct", source, series_fingerprint(header for _, header in slices))
            self.cases.append(Case(case_id, "ct", source, self.root, files, series_uid))
        cases = sorted(self.cases, key=lambda case: (case.source, case.series_uid))
        return Discovery(tuple(cases), self.other_files)

    def _add_all(self, paths: Iterable[Path], *, place: tuple[Path, Path] | None = None) -> None:
        """Add files; those unpacked from an archive are named by their place inside it."""
        for seen in peek_all(paths):
            path = seen.path
            self._add(seen, path if place is None else place[1] / path.relative_to(place[0]))
            self.looked_at += 1
            self.progress(self.looked_at)

    def _add(self, seen: Peek, path: Path) -> None:
        """Put one file where it belongs."""
        if seen.kind == "other":
            self.other_files += 1
        elif seen.kind == "archive":
            self._add_archive(seen.path, path)
        elif seen.header is not None:
            self._add_dicom(seen.header, path)
        elif seen.kind == "locked":
            self._add_file(seen.path, path, _kind_by_name(path))
        else:
            self._add_file(seen.path, path, "image" if seen.kind == "image" else "ct")

    def _add_archive(self, archive: Path, path: Path) -> None:
        """Add what is in an archive; one inside another is not opened."""
        if archive != path:
            self.other_files += 1
            return
        try:
            folder = self.archives.unpack(archive)
        except ReadError:
            self._add_file(archive, path, "ct")
            return
        self._add_all(iter_files(folder, is_whole=is_volume_folder), place=(folder, archive))

    def _add_dicom(self, header: SliceHeader, path: Path) -> None:
        if self._is_aside(header, path):
            self.other_files += 1
        elif header.series_uid and header.layout.rows > 0:
            self.series[path.parent, header.series_uid].append((path, header))
        else:
            self._add_file(header.path, path, "ct", header.series_uid)

    def _is_aside(self, header: SliceHeader, path: Path) -> bool:
        """Return whether a file is DICOM at most in form: a DICOMDIR, or a chance likeness."""
        if self.is_named:
            return False
        if header.sop_class == MEDIA_DIRECTORY:
            if path == header.path:
                self.contents.append(path)
            return True
        is_empty = not header.has_meta and not header.modality and not header.layout.rows
        return is_empty and not claims_dicom(path)

    def _add_lost_contents(self, path: Path) -> None:
        """Make a case of a table of contents beside which no scan is found."""
        files = [file for case in self.cases for file in case.files]
        files += [file for slices in self.series.values() for file, _ in slices]
        if not any(file.is_relative_to(path.parent) for file in files) and _listed_in(path):
            self.other_files -= path in self.contents
            self._add_file(path, path, "ct")

    def _add_file(self, local: Path, path: Path, kind: Kind, series_uid: str = "") -> None:
        source = self._source_of(path)
        case_id = case_id_of(kind, source, file_fingerprint(local))
        self.cases.append(Case(case_id, kind, source, self.root, (path,), series_uid))

    def _source_of(self, path: Path) -> str:
        """Return a path as text; bytes that are no UTF-8 are spelt out."""
        relative = path.relative_to(self.root).as_posix()
        return os.fsencode(relative).decode("utf-8", "backslashreplace")


def _listed_in(path: Path) -> frozenset[str]:
    """Return what a DICOMDIR lists; nothing when it cannot be followed."""
    try:
        return referenced_files(path)
    except ReadError:
        logger.warning("%s: a table of contents that cannot be followed", path.name)
        return frozenset()


def _kind_by_name(path: Path) -> Kind:
    is_image = path.suffix.lower() in IMAGE_SUFFIXES and not is_volume_name(path)
    return "image" if is_image else "ct"
