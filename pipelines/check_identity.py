"""Look whether patients can be told from files: scans -> identifying values -> leaks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medvit.errors import InputError, MedvitError, NothingToDoError
from medvit.io.dicom.values import PARSE_ERRORS
from medvit.io.sniff import has_mark, is_volume_name, starts_like_dicom
from medvit.report.identity import Identity, identity_of, read_values
from medvit.report.leaks import Leak, Searcher
from medvit.report.packed import DEFLATED, PACKED_ERRORS, iter_all_files, iter_pieces
from medvit.workspace import Workspace
from pipelines.run_record import write_run_record
from pipelines.scanning.memory import peak_rss_mb

HEAD_BYTES = 1 << 20
"""Part of a DICOM file in which people are named; only pixels and tables follow."""

Progress = Callable[[float, float, str], None]


@dataclass(frozen=True, slots=True)
class IdentityCheck:
    """What a check answers; the fields are the keys of its JSON answer.

    Attributes:
        leaks: Where values were met; never the values themselves.
        values_checked: Different values that were looked for.
        values_skipped: Values too short or too common to be looked for, by keyword.
        files_checked: Files that were searched.
        unreadable: Files, there or among the scans, that could not be read to the end.
        run: Folder that holds `run.json`; None where the workspace cannot be written.
    """

    leaks: tuple[Leak, ...]
    values_checked: int
    values_skipped: dict[str, int]
    files_checked: int
    unreadable: tuple[str, ...]
    run: Path | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "run": None if self.run is None else str(self.run)}


def run(
    folder: Path, *, source: Path, workspace: Workspace, progress: Progress | None = None
) -> IdentityCheck:
    """Search a folder for values that identify patients in DICOM files.

    Where one folder lies in the other, its files count for its own side alone.

    Args:
        folder: What a scan left: its output, a run folder, a workspace; or one file.
        source: The scans behind it.

    Raises:
        InputError: If one of them does not exist.
        NothingToDoError: If the scans hold no value that could be looked for.
    """
    started_s = time.perf_counter()
    advance = progress or (lambda _done, _total, _what: None)
    for path in (folder, source):
        if not path.exists():
            msg = f"{path}: no such file or folder"
            raise InputError(msg, hint="check the path")
    unreadable: list[str] = []
    identity = _identity_in(source, folder, unreadable, advance)
    if not identity.values:
        skipped = sum(identity.skipped.values())
        msg = f"{source}: no value that could be looked for, {skipped} too short or too common"
        raise NothingToDoError(msg, hint="give the folder of the DICOM files that were scanned")
    searcher = Searcher(identity)
    paths = [path for path in iter_all_files(folder) if not _belongs(path, source, folder)]
    leaks: list[Leak] = []
    for number, path in enumerate(paths):
        name = path.relative_to(folder).as_posix() if folder.is_dir() else path.name
        advance(number, len(paths), searcher.masked(name))
        try:
            leaks += searcher.search_file(path, name)
        except PACKED_ERRORS:
            unreadable.append(searcher.masked(name))
    advance(len(paths), len(paths), "")
    check = IdentityCheck(
        tuple(leaks), identity.values, identity.skipped, len(paths), tuple(unreadable)
    )
    return _recorded(check, workspace, seconds=time.perf_counter() - started_s)


def _identity_in(source: Path, folder: Path, unreadable: list[str], advance: Progress) -> Identity:
    values: set[tuple[str, str]] = set()
    for number, path in enumerate(iter_all_files(source)):
        if _belongs(path, folder, source):
            continue
        advance(0, 1, f"{number + 1} files of the scans read")
        try:
            for head in _dicom_heads(path):
                values |= read_values(head)
        except (*PACKED_ERRORS, *PARSE_ERRORS):
            unreadable.append(f"scan {number + 1}")
    return identity_of(values)


def _dicom_heads(path: Path) -> Iterator[bytes]:
    """Yield the start of a file and of all that is packed in it, where it is DICOM."""
    if is_volume_name(path):
        return
    for piece in iter_pieces(path):
        head = piece.stream.read(HEAD_BYTES)
        is_deflated = has_mark(head) and DEFLATED in head[:1024]  # comes inflated as well
        if (has_mark(head) or starts_like_dicom(head)) and not is_deflated:
            yield head


def _belongs(path: Path, other: Path, own: Path) -> bool:
    """Whether a file below one folder lies in the other, which lies deeper."""
    inside = other.resolve().is_relative_to(own.resolve())
    return inside and path.resolve().is_relative_to(other.resolve())


def _recorded(check: IdentityCheck, workspace: Workspace, *, seconds: float) -> IdentityCheck:
    """Leave `run.json`; looking needs no place to write, so its lack is no error."""
    answer = check.as_json()
    record = {
        "command": "check-identity",
        "state": "done",
        "settings": {},  # paths may name a patient
        "models": {},
        "device": "cpu",
        "counts": {"leaks": len(check.leaks), "files": check.files_checked},
        "seconds": round(seconds, 2),
        "predicted_peak_mb": None,
        "measured_peak_mb": round(peak_rss_mb(), 1),
        "failures": answer["unreadable"],
        "leaks": answer["leaks"],
    }
    try:
        folder = workspace.new_run("check-identity")
        write_run_record(folder, record)
    except (MedvitError, OSError):
        return check
    return IdentityCheck(
        check.leaks,
        check.values_checked,
        check.values_skipped,
        check.files_checked,
        check.unreadable,
        run=folder,
    )
