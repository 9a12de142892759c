"""Images to look at beside one: the same part at another time, and those that look alike."""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath

from apps.review.access import workspace
from medvit.data.neighbours import NeighbourIndex
from medvit.errors import ReadError
from medvit.store.rows import CaseFilter, CaseRow
from medvit.store.store import Store

MOST_INDEXES = 2
"""Models whose images are looked at: the newest."""

MOST_PARTNERS = 8
MOST_NEIGHBOURS = 4
LOOKED_AT = 200
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
    index = _index_with(case.case_id)
    if index is None:
        return []
    nearest = dict(index.nearest(case.case_id, count=LOOKED_AT))
    labelled = store.reviewed_of(*nearest)
    in_order = (case_id for case_id in nearest if case_id in labelled)
    return [
        (labelled[case_id], round(nearest[case_id], 3))
        for case_id in islice(in_order, MOST_NEIGHBOURS)
    ]


def _index_with(case_id: str) -> NeighbourIndex | None:
    """Return the index written last that holds a case; each model has one of its own."""
    ages: dict[Path, int] = {}
    for path in workspace().neighbours.glob("*.npz"):
        try:
            ages[path] = path.stat().st_mtime_ns
        except FileNotFoundError:  # replaced just now
            continue
    newest = sorted(ages, key=ages.__getitem__, reverse=True)[:MOST_INDEXES]
    indexes = (_loaded(path, ages[path]) for path in newest)
    return next((index for index in indexes if index is not None and case_id in index), None)


@lru_cache(maxsize=MOST_INDEXES)
def _loaded(path: Path, _age: int) -> NeighbourIndex | None:
    try:
        return NeighbourIndex.load(path)
    except (ReadError, OSError) as error:
        logger.warning("no neighbours are shown: %s", error)
        return None
