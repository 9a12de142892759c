"""How a reader gets on: time spent, going on to the next case, and the way back."""

from __future__ import annotations

import time

import streamlit as st

from medvit.io.case import Kind

MOST_SECONDS = 900.0
"""Longer looks are breaks: what is written down is this, not the night the tab stayed open."""


def look_at(case_id: str, target: str) -> None:
    """Note that something is shown from now on, unless it was already."""
    if st.session_state.get("looked_at", ("", "", 0.0))[:2] != (case_id, target):
        st.session_state["looked_at"] = (case_id, target, time.monotonic())


def seconds_on(case_id: str, target: str) -> float | None:
    """Return how long something has been shown; None when it is not what is shown."""
    case, about, since = st.session_state.get("looked_at", ("", "", 0.0))
    if (case, about) != (case_id, target):
        return None
    return round(min(MOST_SECONDS, time.monotonic() - float(since)), 2)


def draw_switch(kind: Kind) -> None:
    """Draw the switch for going on by itself: images one after the other, scans on demand."""
    st.toggle(
        "Go on by itself",
        key=_switch(kind),
        value=goes_on(kind),
        help="After the last decision about a case show the next one. Undo (z) goes back.",
        persist_state="session",
    )


def goes_on(kind: Kind) -> bool:
    """Return whether the next case follows the last decision about this one."""
    return bool(st.session_state.get(_switch(kind), kind == "image"))


def go_to(case_id: str) -> None:
    """Show another case; call it from a callback only."""
    st.query_params["case"] = case_id
    st.session_state.pop("came_from", None)


def go_on(case_id: str, *, left: tuple[str, str]) -> None:
    """Show the next case, and remember the way back.

    Args:
        case_id: The next case.
        left: Case and target of the decision that was saved last.
    """
    go_to(case_id)
    st.session_state["came_from"] = (case_id, left)


def came_from(case_id: str) -> tuple[str, str] | None:
    """Return case and target decided just before a case was shown; None after a decision in it."""
    arrived, left = st.session_state.get("came_from", ("", None))
    return left if arrived == case_id else None


def stay() -> None:
    """Forget the way back: something was decided here."""
    st.session_state.pop("came_from", None)


def _switch(kind: Kind) -> str:
    return f"goes_on_{kind}"
