"""Scans that are likely to be looked at next are opened ahead, one by one, by a thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from apps.review.access import case_of
from apps.review.ct_routes import open_pile
from medvit.errors import MedvitError
from medvit.store.rows import CaseRow

MOST_AHEAD = 3
"""Opening a scan of 2,000 files takes a third of a second and a few megabytes."""

READABLE = ("accept", "repair")
logger = logging.getLogger(__name__)
_wanted: list[CaseRow] = []
_lock = threading.Lock()
_begin = threading.Event()
_thread: threading.Thread | None = None


def open_ahead(rows: Sequence[CaseRow]) -> None:
    """Open the first CT scans of some rows soon, in the place of what was asked for before.

    What cannot be opened is told when somebody looks at it.
    """
    global _thread  # noqa: PLW0603 (one thread for the whole app)
    scans = [row for row in rows if row.kind == "ct" and row.verdict in READABLE]
    with _lock:
        _wanted[:] = scans[:MOST_AHEAD]
        if _thread is None:
            _thread = threading.Thread(target=_run, name="open-ahead", daemon=True)
            _thread.start()
    _begin.set()


def _run() -> None:
    while True:
        _begin.wait()
        with _lock:
            row = _wanted.pop(0) if _wanted else None
            if row is None:
                _begin.clear()
        if row is not None:
            _open(row)


def _open(row: CaseRow) -> None:
    try:
        open_pile(case_of(row))
    except (MedvitError, OSError) as error:
        logger.info("%s was not opened ahead: %s", row.case_id, error)
    except Exception:
        logger.exception("%s was not opened ahead", row.case_id)
