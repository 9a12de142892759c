"""The worklist: which cases there are, which queue they stand in and why, and who has them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from apps.review import claiming, session
from apps.review.access import open_store
from apps.review.ahead import open_ahead
from apps.review.components import draw_cases
from apps.review.names import shown_message, shown_name
from apps.review.queues import QUEUES, lengths, reason_of
from apps.review.running import show_running
from apps.review.signin import actor
from medvit.store.rows import CaseFilter, CaseRow, Claim
from medvit.store.store import Store

COUNTED = (
    ("cases", "cases"),
    ("new", "to review"),
    ("reviewed", "reviewed"),
    ("refuse", "refused"),
    ("fail", "failed"),
)
REVIEWED_TOO = ("suspect_label", "disagreement", "drift")
"""Queues that may hold cases somebody reviewed already."""


def show_worklist() -> None:
    """Draw counts, queues, filter, one page of cases and the way to the other pages."""
    store = open_store()
    claiming.let_go()
    found = store.count_cases()
    counts = [(name, found.get(key, 0)) for key, name in COUNTED]
    draw_cases({"part": "counts", "counts": counts}, key="counts", on_open=session.open_case)
    show_running()
    _draw_queues(store, found["cases"])
    _draw_filter()
    wanted = replace(session.case_filter(), names=actor().may("see_names"))
    page = _page_of(wanted)
    rows, total = store.list_cases(
        wanted, limit=session.PAGE_LENGTH, offset=page * session.PAGE_LENGTH
    )
    data = {
        "part": "cases",
        "rows": _rows_data(store, rows, wanted),
        "why": bool(wanted.queue),
        "review": "review",
        "empty": _empty(found["cases"], total, wanted),
    }
    draw_cases(data, key="cases", on_open=session.open_case)
    open_ahead(rows)
    _draw_pager(page, total)


def next_case(store: Store, current: CaseRow) -> CaseRow | None:
    """Return the next case to review in the order of the worklist, or None.

    Follows queue, filter and order of the worklist, leaves out what others have on their
    desks and what this reader skipped, and starts again after the last one.
    """
    wanted = session.case_filter()
    state = wanted.state if wanted.queue in REVIEWED_TOO else "new"
    wanted = replace(wanted, state=state, reader=session.reader())
    return store.next_case(wanted, current.case_id)


def _draw_queues(store: Store, cases: int) -> None:
    if not cases:
        return
    waiting = lengths(store, cases)
    kept = session.case_filter().queue
    names: dict[str, str] = {"": "All cases"} | {
        name: f"{queue.title} ({waiting[name]:,})"
        for name, queue in QUEUES.items()
        if waiting[name] or queue.always or name == kept
    }
    with st.container(key="queues", horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            "Queue",
            list(names),
            format_func=names.__getitem__,
            key="filter_queue",
            default="",
            persist_state="session",
            width="content",
        )
        st.button("Start reading", type="primary", on_click=partial(_start, store))
    if chosen := session.case_filter().queue:
        st.text(QUEUES[chosen].sentence)


def _start(store: Store) -> None:
    """Open the first case of the queue that nobody else has."""
    wanted = session.case_filter()
    state = wanted.state if wanted.queue in REVIEWED_TOO else "new"
    first = store.next_case(replace(wanted, state=state, reader=session.reader()))
    if first is None:
        session.refuse(
            "Nothing waits here that is free: choose another queue, or clear the filter."
        )
    else:
        session.open_case(first.case_id)


def _draw_filter() -> None:
    text, kind, verdict, state, sort = st.columns(
        [3, 1, 1.2, 1.9, 1.5], vertical_alignment="bottom"
    )
    text.text_input(
        "Search",
        key="filter_text",
        placeholder="Part of a name, case id, series UID or label",
        persist_state="session",
    )
    kind.selectbox(
        "Kind",
        list(session.KINDS),
        format_func=session.KINDS.__getitem__,
        key="filter_kind",
        persist_state="session",
    )
    verdict.selectbox(
        "Verdict",
        list(session.VERDICTS),
        format_func=session.VERDICTS.__getitem__,
        key="filter_verdict",
        persist_state="session",
    )
    state.segmented_control(
        "State",
        list(session.STATES),
        format_func=session.STATES.__getitem__,
        key="filter_state",
        default="",
        persist_state="session",
    )
    sort.selectbox(
        "Order",
        list(session.SORTS),
        format_func=session.SORTS.__getitem__,
        key="filter_sort",
        persist_state="session",
        disabled=bool(session.case_filter().queue),
        help="A queue has an order of its own." if session.case_filter().queue else None,
    )


def _page_of(wanted: CaseFilter) -> int:
    """Return the page to show: the first one again whenever the filter changed."""
    if st.session_state.get("paged_filter") != wanted:
        st.session_state["paged_filter"] = wanted
        st.session_state["page"] = 0
    return int(st.session_state["page"])


def _draw_pager(page: int, total: int) -> None:
    if total <= session.PAGE_LENGTH:
        return
    first, last = page * session.PAGE_LENGTH + 1, min(total, (page + 1) * session.PAGE_LENGTH)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Previous page", on_click=_turn, args=(page - 1,), disabled=page == 0)
        st.text(f"{first:,} to {last:,} of {total:,}", width="content")
        st.button("Next page", on_click=_turn, args=(page + 1,), disabled=last == total)


def _turn(page: int) -> None:
    st.session_state["page"] = page


def _rows_data(store: Store, rows: list[CaseRow], wanted: CaseFilter) -> list[dict[str, Any]]:
    ids = [row.case_id for row in rows]
    claims = store.claims_of(*ids)
    who = actor()
    why = reason_of(store, rows, wanted.queue) if wanted.queue else {}
    return [
        {
            "id": row.case_id,
            "kind": row.kind,
            "source": shown_name(row, who),
            "verdict": row.verdict,
            "message": "" if row.verdict == "accept" else shown_message(row, who),
            "label": row.label_now,
            "probability": row.probability if row.label_now == row.label else None,
            "findings": row.n_findings,
            "reviewed": row.n_reviewed,
            "scanned": row.scanned_at.isoformat(),
            "why": why.get(row.case_id, ""),
            "held": _held(claims.get(row.case_id)),
        }
        for row in rows
    ]


def _held(claim: Claim | None) -> str:
    if claim is None or claim.reader == session.reader():
        return ""
    return f"on the desk of {claim.reader}"


def _empty(cases: int, total: int, wanted: CaseFilter) -> str:
    if not cases:
        return (
            'No case has been scanned into this workspace yet. Run "medvit scan FOLDER --out DIR".'
        )
    if total:
        return ""
    if wanted.queue:
        return f"Nothing is in this queue. {QUEUES[wanted.queue].way_in}"
    return "No case fits this filter. Clear the search or choose All."
