"""What a scan starts from: the cases of all sources, each once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medvit.errors import NothingToDoError
from medvit.io.archives import TEMPORARY, Archives
from medvit.io.case import Case, Kind
from medvit.io.discover import discover

KIND_OF_TASK: dict[str, Kind] = {"nodule": "ct", "defect": "image"}


@dataclass(frozen=True, slots=True)
class Sources:
    """The cases to scan, and what was left out.

    Attributes:
        cases: Sorted by source and series UID.
        other_files: Files that are no cases.
        skipped: Cases of a kind that the task leaves out.
    """

    cases: tuple[Case, ...]
    other_files: int
    skipped: int


def find_cases(
    sources: Sequence[Path],
    task: str,
    *,
    archives: Archives = TEMPORARY,
    progress: Callable[[int], None] | None = None,
) -> Sources:
    """Find the cases of all sources; one that two sources share counts once.

    Raises:
        InputError: If a source does not exist.
        NothingToDoError: If there is no case for the task.
    """
    found: dict[str, Case] = {}
    other_files = 0
    for source in sources:
        discovery = discover(source, archives=archives, progress=progress)
        other_files += discovery.other_files
        found.update({case.case_id: case for case in discovery.cases})
    wanted = KIND_OF_TASK.get(task)
    cases = [case for case in found.values() if wanted in (None, case.kind)]
    if not cases:
        raise _nothing(sources, task, cases=len(found), other_files=other_files)
    cases.sort(key=lambda case: (case.source, case.series_uid, case.case_id))
    return Sources(tuple(cases), other_files, len(found) - len(cases))


def _nothing(
    sources: Sequence[Path], task: str, *, cases: int, other_files: int
) -> NothingToDoError:
    names = ", ".join(str(source) for source in sources)
    if cases:
        msg = f"{names}: {cases} cases, but none for --task {task}"
        return NothingToDoError(msg, hint="leave --task out to scan every kind")
    msg = f"{names}: no CT series, volume or image among {other_files} files"
    return NothingToDoError(msg, hint="name a folder with scans or images")
