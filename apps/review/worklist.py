"""The worklist: which cases there are, which of them wait, and why some were refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from apps.review import session
from apps.review.access import open_store
from apps.review.components import draw_cases
from apps.review.running import show_running
from medvit.store.rows import CaseFilter, CaseRow
from medvit.store.store import Store

COUNTED: tuple[tuple[str, CaseFilter], ...] = (
    ("cases", CaseFilter()),
    ("to review", CaseFilter(state="new")),
    ("reviewed", CaseFilter(state="reviewed")),
    ("refused", CaseFilter(verdict="refuse")),
    ("failed", CaseFilter(verdict="fail")),
)


def show_worklist() -> None:
    """Draw counts, filter, one page of cases and the way to the other pages."""
    store = open_store()
    counts = [(name, store.list_cases(wanted, limit=1, offset=0)[1]) for name, wanted in COUNTED]
    draw_cases({"part": "counts", "counts": counts}, key="counts", on_open=session.open_case)
    show_running()
    _draw_filter()
    wanted = session.case_filter()
    page = _page_of(wanted)
    rows, total = store.list_cases(
        wanted, limit=session.PAGE_LENGTH, offset=page * session.PAGE_LENGTH
    )
    data = {
        "part": "cases",
        "rows": [_row_data(row) for row in rows],
        "review": "review",
        "empty": _empty(counts[0][1], total),
    }
    draw_cases(data, key="cases", on_open=session.open_case)
    _draw_pager(page, total)


def next_case(store: Store, current: CaseRow) -> CaseRow | None:
    """Return the next case to review in the order of the worklist, or None.

    Looks among the first cases that wait; after the last one it starts again.
    """
    wanted = replace(session.case_filter(), state="new")
    rows, _ = store.list_cases(wanted, limit=200, offset=0)
    order = [row.case_id for row in rows]
    if current.case_id in order:
        start = order.index(current.case_id) + 1
        rows = [*rows[start:], *rows[: start - 1]]
    elif wanted.sort == "source":
        rows = [*(row for row in rows if row.source > current.source), *rows]
    return rows[0] if rows else None


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


def _row_data(row: CaseRow) -> dict[str, Any]:
    return {
        "id": row.case_id,
        "kind": row.kind,
        "source": row.source,
        "verdict": row.verdict,
        "message": "" if row.verdict == "accept" else row.message,
        "label": row.label_now,
        "probability": row.probability if row.label_now == row.label else None,
        "findings": row.n_findings,
        "reviewed": row.n_reviewed,
        "scanned": row.scanned_at.isoformat(),
    }


def _empty(cases: int, total: int) -> str:
    if not cases:
        return (
            'No case has been scanned into this workspace yet. Run "medvit scan FOLDER --out DIR".'
        )
    return "" if total else "No case fits this filter. Clear the search or choose All."
