"""What an engine is given, and what it gives back: cases that are due, and what they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from medvit.io.case import Case, Kind
from medvit.workspace import Workspace
from pipelines.scanning.detectors import Detector
from pipelines.scanning.live import LiveFile
from pipelines.scanning.one_case import CaseDone
from pipelines.scanning.workbench import Workbench

Progress = Callable[[float, float, str], None]


@dataclass(frozen=True, slots=True)
class Turn:
    """A case that is due.

    Attributes:
        number: Its place among all cases of the scan.
        key: Text that names all that determines the result.
    """

    case: Case
    number: int
    key: str


@dataclass(frozen=True, slots=True)
class Assignment:
    """A scan as its engine knows it.

    Attributes:
        max_ram_bytes: What each process may hold, as somebody said; None: most of what is free.
        device: Kind of device that computes, `cpu` or `cuda`.
        cases: All cases, those that are not due included.
    """

    sources: tuple[Path, ...]
    workspace: Workspace
    detectors: Mapping[Kind, Detector]
    bench: Workbench
    max_ram_bytes: int | None
    device: str
    cases: int
    live: LiveFile
    progress: Progress


class Engine(Protocol):
    """Scans cases; in which order and where never changes what is found."""

    def scan(
        self, turns: Iterator[Turn], assignment: Assignment
    ) -> Iterator[tuple[Turn, CaseDone]]:
        """Take turns as there is somebody free to work on them; yield each when it is done."""
        ...

    def peak_mb(self) -> float:
        """Return the most memory that one of the processes at work has held, in MiB."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return for `run.json` who worked."""
        ...
