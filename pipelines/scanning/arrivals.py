"""What comes into a watched folder: files that have settled, cases that are complete."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medvit.io.archives import Archives
from medvit.io.case import Case
from medvit.io.discover import discover
from medvit.io.walk import iter_files
from pipelines.scanning.journal import Entry, case_key
from pipelines.scanning.one_case import CaseDone
from pipelines.scanning.sources import KIND_OF_TASK, Sources

UNFINISHED = frozenset({".part", ".partial", ".filepart", ".crdownload", ".tmp"})
"""Suffixes under which programs write what they are still receiving."""

Stamp = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """A batch of a watch: what a scan of it needs beside its settings.

    Attributes:
        sources: The cases that are complete.
        earlier: Results that the tables go on to hold.
        goes_on: Whether the next case is still to be scanned with the models of this batch.
        done: The cases that had their turn; filled as the scan goes on.
    """

    sources: Sources
    earlier: tuple[Entry, ...]
    goes_on: Callable[[], bool]
    done: list[CaseDone] = field(default_factory=list)


@dataclass(slots=True)
class Incoming:
    """Folders under watch, and when each of their files last changed.

    Attributes:
        settle_s: Seconds for which size and time of a file, and the files of a folder that
            holds a series, must have stayed as they are.
        clock: Seconds, as `time.monotonic`.
    """

    folders: Sequence[Path]
    task: str
    archives: Archives
    settle_s: float
    clock: Callable[[], float] = time.monotonic
    _since: dict[Path, tuple[Stamp, float]] = field(default_factory=dict)
    _looked_at: frozenset[tuple[Path, Stamp]] = frozenset()

    def look(self) -> Sources | None:
        """Return the complete cases; None when nothing settled since the last look.

        Raises:
            InputError: If a folder is not there.
        """
        settled = self._settled()
        if settled == self._looked_at:
            return None
        found: dict[str, Case] = {}
        other_files = 0
        for folder in self.folders:
            discovery = discover(folder, archives=self.archives)
            other_files += discovery.other_files
            found.update({case.case_id: case for case in discovery.cases})
        self._looked_at = settled
        wanted = KIND_OF_TASK.get(self.task)
        mine = [case for case in found.values() if wanted in (None, case.kind)]
        quiet = {path for path, _ in settled}
        ready = [case for case in mine if self._is_complete(case, quiet)]
        ready.sort(key=lambda case: (case.source, case.series_uid, case.case_id))
        return Sources(tuple(ready), other_files, len(found) - len(mine))

    def _settled(self) -> frozenset[tuple[Path, Stamp]]:
        """Note what changed, and return the files that stayed as they are for long enough."""
        now = self.clock()
        before, self._since = self._since, {}
        for path, stamp in _stamps(self.folders):
            known = before.get(path)
            is_same = known is not None and known[0] == stamp
            self._since[path] = known if known is not None and is_same else (stamp, now)
        return frozenset(
            (path, stamp)
            for path, (stamp, since) in self._since.items()
            if now - since >= self.settle_s
        )

    def _is_complete(self, case: Case, quiet: set[Path]) -> bool:
        files = set(case.files)
        if files & self._since.keys() != files:  # out of an archive
            return quiet == self._since.keys()
        if case.kind == "ct":  # slices may still be on their way
            homes = {file.parent for file in files}
            files |= {path for path in self._since if path.parent in homes}
        is_finished = not any(file.suffix.lower() in UNFINISHED for file in files)
        return is_finished and files <= quiet


@dataclass(slots=True)
class Answered:
    """Every case that a watch has answered, by where it came from."""

    entries: dict[tuple[str, ...], Entry] = field(default_factory=dict)
    _seen: dict[str, str] = field(default_factory=dict)

    def add(self, entries: Iterable[Entry]) -> None:
        """Take results in; a file that was replaced has the newer one alone."""
        for entry in entries:
            case = entry.result.case
            self.entries[str(case.root), case.source, case.series_uid] = entry
            self._seen[case.case_id] = case_key(case)

    def beside(self, cases: Iterable[Case]) -> tuple[Entry, ...]:
        """Return the results of everything but some cases, and what these replace."""
        places = {(str(case.root), case.source, case.series_uid) for case in cases}
        return tuple(entry for place, entry in self.entries.items() if place not in places)

    def is_new(self, case: Case) -> bool:
        """Whether a case, with its files as they are now, has no answer."""
        return self._seen.get(case.case_id) != case_key(case)


def _stamps(folders: Iterable[Path]) -> Iterable[tuple[Path, Stamp]]:
    for folder in folders:
        for path in iter_files(folder.absolute()):
            try:
                status = path.stat()
            except OSError:  # gone since it was listed
                continue
            yield path, (status.st_size, status.st_mtime_ns)
