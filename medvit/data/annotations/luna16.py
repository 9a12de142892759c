"""LUNA16 as downloaded: ten subsets of `.mhd` with `.raw`, and two tables of findings.

The lists of candidates and the lung masks beside the subsets are not read. The readers'
consensus is in `annotations.csv`; `annotations_excluded.csv` comes inside the folder of the
evaluation script (Setio et al. 2017, arXiv:1612.08012).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from medvit.data.annotations.collected import (
    Collected,
    SourcedMark,
    by_name,
    cases_below,
    refuse,
)
from medvit.data.annotations.table import MarkTable
from medvit.errors import InputError
from medvit.io.case import Case

FOLDS = 10
ANNOTATIONS, EXCLUDED = "annotations.csv", "annotations_excluded.csv"
EXCLUDED_PLACES = ("", "evaluationScript/annotations", "annotations", "CSVFILES")

_SUBSET = re.compile(r"subset(\d)")
_log = logging.getLogger(__name__)


def collect_luna16(
    root: Path,
    *,
    annotations: Path | None = None,
    excluded: Path | None = None,
    is_ras: bool = False,
) -> Collected:
    """Read a LUNA16 folder; its subsets are its folds.

    Args:
        annotations: By default `annotations.csv` in the folder.
        excluded: By default `annotations_excluded.csv` there or where the evaluation script
            has it; without one nothing is ignored, which is said in the log.

    Raises:
        InputError: If a subset or table is missing, or a line or name breaks a rule.
    """
    cases: list[Case] = []
    fold_of: dict[str, int] = {}
    for number, folder in sorted(_subsets(root).items()):
        found = cases_below(folder)
        cases += found
        fold_of |= dict.fromkeys(by_name(found), number)
    named = by_name(cases)
    list_of_excluded = excluded or _find_excluded(root)
    if list_of_excluded is None:
        _log.warning("no %s below the folder: what readers disagreed on counts", EXCLUDED)
    return Collected(
        cases=named,
        nodules=tuple(_marks(annotations or root / ANNOTATIONS, is_ras=is_ras)),
        ignored=()
        if list_of_excluded is None
        else tuple(_marks(list_of_excluded, is_ras=is_ras, may_be_unmeasured=True)),
        fold_of=fold_of,
        is_typed=True,
    )


def _subsets(root: Path) -> Mapping[int, Path]:
    if not root.is_dir():
        msg = f"{root}: no such folder"
        raise InputError(msg, hint="give the folder that holds subset0 to subset9")
    found = {
        int(match[1]): path
        for path in root.iterdir()
        if path.is_dir() and (match := _SUBSET.fullmatch(path.name))
    }
    missing = [f"no folder subset{n} in {root.name}" for n in range(FOLDS) if n not in found]
    refuse(
        missing, hint="unpack all ten side by side; data.annotated.format=csv reads a part of them"
    )
    return found


def _find_excluded(root: Path) -> Path | None:
    places = [root / place / EXCLUDED for place in EXCLUDED_PLACES]
    return next((file for file in places if file.is_file()), None)


def _marks(file: Path, *, is_ras: bool, may_be_unmeasured: bool = False) -> Iterator[SourcedMark]:
    table = MarkTable(file, may_be_unmeasured=may_be_unmeasured, is_ras=is_ras)
    for row in table.rows():
        if row.xyzd_mm is not None:
            yield SourcedMark(row.scan or row.file, row.xyzd_mm, f"{file.name}, line {row.line}")
