"""Images to look at beside one: the same part at another time, and those that look alike."""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from pathlib import Path, PurePosixPath

from apps.review.access import workspace
from medvit.data.neighbours import NeighbourIndex
from medvit.errors import ReadError
from medvit.store.rows import CaseFilter, CaseRow
from medvit.store.store import Store

INDEX_NAME = "neighbours.npz"
"""File in the workspace with the embeddings of its images; without it there are no neighbours."""

MOST_PARTNERS = 8
MOST_NEIGHBOURS = 4
LOOKED_AT = 60
"""Nearest images among which labelled ones are looked for."""

_TIME = re.compile(r"[-_ .]?(before|after|old|new|first|last|vor|nach|\d{6,14})$", re.IGNORECASE)
logger = logging.getLogger(__name__)


def part_of(source: str) -> tuple[str, str]:
    """Return the folder and the name of the part that an image shows, without its time.

    Examples:
        >>> part_of("line4/gear-17_before.png"), part_of("line4/gear-17_after.png")
        (('line4', 'gear-17'), ('line4', 'gear-17'))
        >>> part_of("plate_20260301.tif") == part_of("plate_20260401.tif")
        True
    """
    path = PurePosixPath(source)
    return str(path.parent), _TIME.sub("", path.stem) or path.stem


def partners_of(store: Store, case: CaseRow) -> list[CaseRow]:
    """Return other images of the same part: same folder, and a name that differs in time alone.

    Of a name that says no time (`before`, `new`, six digits of a date) there are none.

    Raises:
        StoreError: If the store cannot be read.
    """
    if _TIME.search(PurePosixPath(case.source).stem) is None:
        return []
    part = folder, name = part_of(case.source)
    text = name if folder == "." else f"{folder}/{name}"
    rows, _ = store.list_cases(CaseFilter(text=text, kind="image"), limit=200)
    others = [row for row in rows if row.case_id != case.case_id and part_of(row.source) == part]
    return others[:MOST_PARTNERS]


def neighbours_of(store: Store, case: CaseRow) -> list[tuple[CaseRow, float]]:
    """Return the labelled images that look most like one, with the cosine, nearest first.

    Raises:
        StoreError: If the store cannot be read.
    """
    index = _index(workspace().folder / INDEX_NAME)
    if index is None:
        return []
    found: list[tuple[CaseRow, float]] = []
    for case_id, cosine in index.nearest(case.case_id, count=LOOKED_AT):
        row = store.get_case(case_id)
        if row is not None and row.n_reviewed + (row.state != "new") > 0:
            found.append((row, round(cosine, 3)))
        if len(found) == MOST_NEIGHBOURS:
            break
    return found


def _index(path: Path) -> NeighbourIndex | None:
    try:
        age = path.stat().st_mtime_ns
    except OSError:
        return None
    return _loaded(path, age)


@lru_cache(maxsize=2)
def _loaded(path: Path, _age: int) -> NeighbourIndex | None:
    try:
        return NeighbourIndex.load(path)
    except (ReadError, OSError) as error:
        logger.warning("no neighbours are shown: %s", error)
        return None
