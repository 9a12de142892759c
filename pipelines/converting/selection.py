"""Which cases of a source are converted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medvit.errors import InputError, NothingToDoError
from medvit.io.archives import Archives
from medvit.io.case import Case
from medvit.io.discover import discover
from pipelines.converting.rows import Row


def volumes_of(source: Path, series: str, *, archives: Archives) -> list[Case]:
    """Return the CT series and volumes of a source, or the one series that is asked for.

    Raises:
        InputError: If the path does not exist, or no series has that UID.
        NothingToDoError: If there is no CT at all.
    """
    found = discover(source, archives=archives)
    cases = [case for case in found.cases if case.kind == "ct"]
    if not cases:
        others = len(found.cases) + found.other_files
        msg = f"{source}: no CT series or volume among {others} other files"
        raise NothingToDoError(msg, hint="name a CT series or a volume file")
    chosen = [case for case in cases if series in ("", case.series_uid)]
    if not chosen:
        msg = f"{source}: no series {series} in it; it holds {_listed(cases)}"
        raise InputError(msg, hint="give the UID of one of these with --series")
    return chosen


def only_one(source: Path, rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Return the one readable case, and those that are left out beside it.

    Without a readable case all stay, with their reasons, and none is left out.

    Raises:
        InputError: If there is more than one readable case.
    """
    readable = [row for row in rows if row.verdict != "refuse"]
    if len(readable) > 1:
        cases = [row.case for row in readable]
        msg = f"{source}: {len(cases)} volumes in it, and DST is one: {_listed(cases)}"
        raise InputError(msg, hint=_way_to_one(cases))
    if not readable:
        return list(rows), []
    return readable, [row for row in rows if row is not readable[0]]


def _listed(cases: Sequence[Case]) -> str:
    return "; ".join(
        f"{case.source} (series {case.series_uid})" if case.series_uid else case.source
        for case in cases
    )


def _way_to_one(cases: Sequence[Case]) -> str:
    uids = [case.series_uid for case in cases]
    every = "or give a folder as DST and --format to convert every case"
    if all(uids) and len(set(uids)) == len(uids):
        return f"choose one with --series {uids[0]}, {every}"
    return f"give one of these folders or files as SRC, {every}"
