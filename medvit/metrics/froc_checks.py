"""What is odd about marks and annotations that can be scored: scans and axes that do not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medvit.errors import InputError
from medvit.metrics.froc_matching import Annotation, Mark, ScanMatches, match_scans
from medvit.metrics.luna16_csv import Table

MISTAKEN_SHARE = 0.5
"""Axes are in doubt when more than this share of nodules is hit only after turning the marks."""

TURNS = {
    "x and y have the opposite sign (RAS in place of LPS)": ((0, 1, 2), (-1, -1, 1)),
    "x has the opposite sign": ((0, 1, 2), (-1, 1, 1)),
    "y has the opposite sign": ((0, 1, 2), (1, -1, 1)),
    "x and z are swapped": ((2, 1, 0), (1, 1, 1)),
}
"""Order and signs of the coordinates, by the mistake that they undo."""


def check_scans(
    marks: Table[Mark], annotations: Table[Annotation], series: Table[str] | None
) -> list[str]:
    """Return sentences on scans that only one of the tables knows.

    Raises:
        InputError: If not one mark, or not one annotation, lies in a listed scan.
    """
    if series is None:
        listed = {row.series_uid for row in annotations.rows}
        listed |= {row.series_uid for row in marks.rows}
        return [
            f"no list of scans: the {len(listed)} scans of the two files count, so scans "
            "without finding and mark are left out (give --series)",
            *_without_marks(marks, listed),
        ]
    listed = set(series.rows)
    if not any(row.series_uid in listed for row in annotations.rows):
        msg = f"{annotations.file}: not one of its annotations lies in a scan of {series.file}"
        raise InputError(msg, hint=f"the list begins with {series.rows[0]}")
    return [*_unlisted(marks, series, listed), *_without_marks(marks, listed)]


def check_axes(
    marks: Sequence[Mark], annotations: Sequence[Annotation], scans: Sequence[ScanMatches]
) -> list[str]:
    """Return a sentence if most nodules are hit only when the marks' axes are turned.

    Args:
        marks: As they were read.
        annotations: Nodules that are to be found.
        scans: What the marks are as they were read.
    """
    searched = {row.series_uid for row in marks}
    looked_at = [scan for scan in scans if scan.series_uid in searched]
    missed = _missed(looked_at)
    if missed.sum() <= MISTAKEN_SHARE * len(missed):
        return []
    names = [scan.series_uid for scan in looked_at]
    for mistake, (order, signs) in TURNS.items():
        turned = match_scans([_turn(m, order, signs) for m in marks], annotations, series=names)
        gained = int((missed & ~_missed(turned)).sum())
        if gained > MISTAKEN_SHARE * len(missed):
            return [
                f"the coordinates look wrong: {gained} of {len(missed)} nodules are hit only if "
                f"{mistake}; LUNA16 wants patient LPS mm in the order x, y, z"
            ]
    return []


def _unlisted(marks: Table[Mark], series: Table[str], listed: set[str]) -> list[str]:
    outside = [
        (row.series_uid, line)
        for row, line in zip(marks.rows, marks.lines, strict=True)
        if row.series_uid not in listed
    ]
    if not outside:
        return []
    uid, line = outside[0]
    sentence = f"{marks.file}, line {line}: series {uid} is not in {series.file}"
    if len(outside) == len(marks.rows):
        msg = f"{sentence}, and neither is any other mark"
        raise InputError(msg, hint=f"check --series; the list begins with {series.rows[0]}")
    scans = len(Counter(uid for uid, _ in outside))
    return [f"{sentence} (marks not counted: {len(outside)}, in scans: {scans})"]


def _without_marks(marks: Table[Mark], listed: set[str]) -> list[str]:
    silent = sorted(listed - {row.series_uid for row in marks.rows})
    if not silent:
        return []
    return [
        f"{marks.file}: {len(silent)} of {len(listed)} scans have no mark, among them "
        f"{silent[0]}; nodules in them are missed"
    ]


def _missed(scans: Sequence[ScanMatches]) -> NDArray[np.bool_]:
    missed: NDArray[np.bool_] = np.isnan(np.concatenate([np.empty(0), *(s.scores for s in scans)]))
    return missed


def _turn(mark: Mark, order: Sequence[int], signs: Sequence[int]) -> Mark:
    given = (mark.x_mm, mark.y_mm, mark.z_mm)
    x_mm, y_mm, z_mm = (given[axis] * sign for axis, sign in zip(order, signs, strict=True))
    return replace(mark, x_mm=x_mm, y_mm=y_mm, z_mm=z_mm)
