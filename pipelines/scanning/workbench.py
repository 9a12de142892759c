"""What cases are examined with: places on the disk, limits, and who watches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medvit.inference.nodules import Nodule
from medvit.io.scratch import UNTIL_EXIT, Scratch
from pipelines.scanning.image_room import ImageRoom
from pipelines.scanning.limits import Limits

Fraction = Callable[[float], None]
"""Called with the share of a case that is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Workbench:
    """What all cases of a scan share.

    Attributes:
        run: Run folder; a fault of medvit itself leaves its traceback there.
        tiles: Folder for what is finished of a case that is not.
        limits: What the scan may take.
        scratch: Where to keep what is decoded or unpacked.
        costs: Folder that keeps what networks hold for a tile; None: it is measured.
        room: The memory of images that are worked on side by side.
    """

    run: Path
    tiles: Path
    limits: Limits
    scratch: Scratch = UNTIL_EXIT
    costs: Path | None = None
    room: ImageRoom = field(default_factory=ImageRoom)


@dataclass(frozen=True, slots=True)
class CaseWatch:
    """Who is told how one case goes on.

    Attributes:
        progress: Told the share that is done.
        candidates: Told the nodules of a tile as it is finished.
    """

    progress: Fraction
    candidates: Callable[[Sequence[Nodule]], None] = lambda _nodules: None
