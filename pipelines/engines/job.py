"""What a worker on another machine must know of a scan, in plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medvit.io.case import Case, Kind
from medvit.tiles.progressive import Effort
from pipelines.engines.turns import Assignment, Turn

SAME_TIME_S = 2.0
"""Two machines may be told times of change of one file that differ by less than this."""


@dataclass(frozen=True, slots=True)
class ModelNeeded:
    """A model that a worker loads for itself.

    Attributes:
        reference: `name@version`.
        thresholds: What the scan cuts at, by name.
    """

    kind: Kind
    reference: str
    sha256: str
    thresholds: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Job:
    """A scan, as its workers know it.

    Attributes:
        scan: A name that no other scan has.
        workspace: Folder of models and cache. `run`, `tiles`: of this scan.
        max_bytes: What a worker may hold; None: its share of what is free.
    """

    scan: str
    workspace: Path
    run: Path
    tiles: Path
    models: tuple[ModelNeeded, ...]
    effort: Effort
    views: int
    device: str
    max_bytes: int | None

    @classmethod
    def of(cls, assignment: Assignment, *, scan: str) -> Job:
        """Return what the workers of a scan must know."""
        bench = assignment.bench
        models = [
            ModelNeeded(
                kind,
                each.version.reference,
                each.version.sha256,
                tuple(sorted(each.card.thresholds.items())),
            )
            for kind, each in assignment.detectors.items()
        ]
        return cls(
            scan,
            assignment.workspace.folder.resolve(),
            bench.run.resolve(),
            bench.tiles.resolve(),
            tuple(models),
            bench.limits.effort,
            bench.limits.views,
            assignment.device,
            assignment.max_ram_bytes,
        )


@dataclass(frozen=True, slots=True)
class Errand:
    """One case, sent to a worker.

    Attributes:
        stamps: Size in bytes and time of change in s of each file, as the sender sees them.
        left_s: Seconds until the scan must end; None when it may take its time.
        neighbours: Workers on the same machine, this one included.
    """

    job: Job
    case: Case
    key: str
    stamps: tuple[tuple[int, float], ...]
    left_s: float | None
    neighbours: int

    @classmethod
    def of(cls, turn: Turn, job: Job, *, left_s: float | None, neighbours: int) -> Errand:
        """Return a case that is due as it is sent."""
        stamps = tuple(stamp(path) for path in turn.case.files)
        return cls(job, turn.case, turn.key, stamps, left_s, neighbours)

    def differing(self) -> list[Path]:
        """Return the files that are not here what they are where this was sent from."""
        pairs = zip(self.case.files, self.stamps, strict=True)
        return [path for path, theirs in pairs if not _is_same(stamp(path), theirs)]


def stamp(path: Path) -> tuple[int, float]:
    """Return size in bytes and time of change in s; (-1, 0) for a file that cannot be asked."""
    try:
        status = path.stat()
    except OSError:
        return (-1, 0.0)
    return (status.st_size, status.st_mtime)


def _is_same(here: tuple[int, float], there: tuple[int, float]) -> bool:
    return here[0] == there[0] and abs(here[1] - there[1]) < SAME_TIME_S
