"""What one browser tab remembers between runs: reader, chosen finding, messages, filter."""

from __future__ import annotations

from typing import Literal, cast

import streamlit as st

from medvit.io.case import Kind, Verdict
from medvit.store.rows import CaseFilter, Queue, Sort

READER_LENGTH = 100
PAGE_LENGTH = 50

KINDS: dict[str, str] = {"": "All kinds", "ct": "CT", "image": "Images"}
VERDICTS: dict[str, str] = {
    "": "All verdicts",
    "accept": "Accepted",
    "repair": "Repaired",
    "refuse": "Refused",
    "fail": "Failed",
}
STATES: dict[str, str] = {"": "All", "new": "To review", "reviewed": "Reviewed"}
SORTS: dict[str, str] = {
    "source": "By name",
    "probability": "Most suspicious first",
    "findings": "Most findings first",
    "scanned": "Newest first",
}


def reader() -> str:
    """Return the name of the reader; empty as long as it is not known.

    The account that signed in, or else the name that was typed in.
    """
    name = _given_name()
    return "" if name == st.session_state.get("barred", ("", ""))[0] else name


def _given_name() -> str:
    name = st.session_state.get("account") or st.session_state.get("reader_name", "")
    return " ".join(str(name).split())[:READER_LENGTH]


def set_reader(name: str) -> None:
    """Take over the name that the browser kept; call it from a callback only."""
    st.session_state["reader_name"] = name[:READER_LENGTH]


def bar(name: str, why: str) -> None:
    """Count a name that cannot be used here as none."""
    st.session_state["barred"] = (name, why)


def barred() -> str:
    """Return why the name that was given cannot be used; empty when it can."""
    name, why = st.session_state.get("barred", ("", ""))
    return str(why) if name and name == _given_name() else ""


def next_turn() -> int:
    """Count the runs of the page, so that the browser knows that it was answered."""
    turn = int(st.session_state.get("turn", 0)) + 1
    st.session_state["turn"] = turn
    return turn


def choose(case_id: str, target: str) -> None:
    """Let a finding be the chosen one of its case."""
    st.session_state["chosen"] = (case_id, target)


def pick(case_id: str, target: str) -> None:
    """Choose a finding and let the viewer go there, also when it was the chosen one before."""
    choose(case_id, target)
    st.session_state["jump"] = jumps() + 1


def jumps() -> int:
    """Return how often a finding was picked."""
    return int(st.session_state.get("jump", 0))


def chosen(case_id: str) -> str | None:
    """Return the chosen finding of a case, if one was chosen."""
    case, target = st.session_state.get("chosen", ("", ""))
    return str(target) if case == case_id else None


def refuse(message: str) -> None:
    """Keep a sentence about what was not done for the next drawing of the page."""
    st.session_state["refused"] = message


def take_refusal() -> str:
    """Return the sentence kept by `refuse`, once."""
    return str(st.session_state.pop("refused", ""))


def open_case(case_id: str) -> None:
    """Ask the router to show a case."""
    st.session_state["goto"] = case_id


def take_goto() -> str:
    """Return the case that `open_case` asked for, once."""
    return str(st.session_state.pop("goto", ""))


def case_filter() -> CaseFilter:
    """Return the filter of the worklist as it stands."""
    get = st.session_state.get
    return CaseFilter(
        text=str(get("filter_text", "")).strip(),
        kind=cast("Kind", get("filter_kind", "")),
        verdict=cast("Verdict", get("filter_verdict", "")),
        state=cast("Literal['', 'new', 'reviewed']", get("filter_state") or ""),
        sort=cast("Sort", get("filter_sort", "source")),
        queue=cast("Queue", get("filter_queue") or ""),
    )
