"""What each file is: many are looked at side by side, and answered in their order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from medvit.errors import ReadError
from medvit.io.archives import is_archive_name
from medvit.io.dicom.header import SliceHeader, read_header
from medvit.io.sniff import SNIFF_BYTES, FileKind, kind_of
from medvit.io.volumes.formats import is_volume_folder

WORKERS = 8
"""Threads: reading waits for disks and networks, not for processors."""

BATCH_FILES = 64
"""Files that one thread looks at before it takes the next ones."""


WAITING_RATIO = 3.0
"""How much longer than its computing a batch may take before others are read beside it."""


@dataclass(frozen=True, slots=True)
class Peek:
    """One file, looked at.

    Attributes:
        kind: `locked` for what cannot be opened.
        header: Of a DICOM file that could be parsed.
    """

    path: Path
    kind: FileKind | Literal["archive", "locked"]
    header: SliceHeader | None = None


def peek(path: Path) -> Peek:
    """Look at one file, or at a folder that holds one volume."""
    try:
        if path.is_dir() and is_volume_folder(path):
            return Peek(path, "volume")
        with path.open("rb", buffering=0) as file:
            head = file.read(SNIFF_BYTES)
    except OSError:
        return Peek(path, "locked")
    if is_archive_name(path) and head.startswith(b"PK"):
        return Peek(path, "archive")
    kind = kind_of(path, head)
    if kind != "dicom":
        return Peek(path, kind)
    try:
        return Peek(path, kind, read_header(path))
    except ReadError:
        return Peek(path, kind)


def peek_all(paths: Iterable[Path]) -> Iterator[Peek]:
    """Look at many files; answers come in the order of the paths.

    While most of the time goes into waiting for a disk or a network, several threads
    wait at once; otherwise they would only stand in each other's way.
    """
    left = iter(paths)
    waiting: deque[Future[list[Peek]]] = deque()
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="peek") as pool:
        while batch := list(islice(left, BATCH_FILES)):
            started, started_cpu = time.perf_counter(), time.thread_time()
            yield from _peek_at(batch)
            seconds, busy = time.perf_counter() - started, time.thread_time() - started_cpu
            if seconds < WAITING_RATIO * busy:
                continue
            for ahead in iter(lambda: list(islice(left, BATCH_FILES)), []):
                waiting.append(pool.submit(_peek_at, ahead))
                if len(waiting) >= WORKERS:
                    break
            while waiting:
                yield from waiting.popleft().result()


def _peek_at(paths: list[Path]) -> list[Peek]:
    return [peek(path) for path in paths]
