"""A case on the desk: claimed while it is open, so that two readers know of each other."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import streamlit as st

from apps.review import session
from apps.review.access import open_store
from apps.review.notices import sentence, tell
from medvit.errors import StoreError
from medvit.store.rows import Claim

RENEWED_EVERY_S = 240
"""Well below the 15 minutes that a claim lasts."""

FRESH_S = 60
"""A claim so young is read, not written again: each write waits for the disk."""


def hold(case_id: str) -> None:
    """Claim the case on the page, let go of the one before, and say who else has it."""
    name = session.reader()
    if not name or open_store().get_case(case_id) is None:
        return
    claim = _standing(case_id, name)
    if claim is not None and claim.reader != name:
        _draw_holder(claim, name)
    st.session_state["just_claimed"] = True
    _renew(case_id, name, claim.reader if claim is not None else "")


def let_go() -> None:
    """Give back the case that was on the desk."""
    case_id, name = st.session_state.pop("held", ("", ""))
    if case_id:
        open_store().release(case_id, name)


def _standing(case_id: str, name: str) -> Claim | None:
    """Return who has the case: claimed now, or read where it was claimed a moment ago."""
    held_id, held_by = st.session_state.get("held", ("", ""))
    since = time.monotonic() - float(st.session_state.get("claimed_at", 0.0))
    if (held_id, held_by) == (case_id, name) and since < FRESH_S:
        return open_store().claims_of(case_id).get(case_id) or _claim(case_id, name)
    if held_by not in ("", name):
        let_go()
        held_id = ""
    return _claim(case_id, name, left=held_id)


@st.fragment(run_every=RENEWED_EVERY_S)
def _renew(case_id: str, name: str, holder: str) -> None:
    """Renew the claim as long as the page is open; draw it anew when somebody else has it."""
    if st.session_state.pop("just_claimed", False):
        return
    claim = _claim(case_id, name)
    if claim is not None and claim.reader != holder:
        st.rerun(scope="app")


def _claim(case_id: str, name: str, *, left: str = "") -> Claim | None:
    """Return the claim that stands; None when the store cannot be written, which is said."""
    try:
        claim = open_store().claim(case_id, name, let_go=left)
    except StoreError as error:
        tell(f"The case could not be claimed: {sentence(error)}", tone="caution")
        return None
    st.session_state.pop("held", None)
    if claim.reader == name:
        st.session_state["held"] = (case_id, name)
        st.session_state["claimed_at"] = time.monotonic()
    return claim


def _draw_holder(claim: Claim, name: str) -> None:
    minutes = (claim.expires_at - datetime.now(UTC)).total_seconds() / 60
    with st.container(key="caution_held", horizontal=True, vertical_alignment="center"):
        st.text(
            f"{claim.reader} has this case on the desk, for {max(1, round(minutes))} more minutes "
            "unless they go on reading. What you decide here is a second opinion."
        )
        st.button("Take it over", key="take_over", on_click=_take_over, args=(claim.case_id, name))


def _take_over(case_id: str, name: str) -> None:
    try:
        open_store().claim(case_id, name, take_over=True)
    except StoreError as error:
        session.refuse(f"Not taken over: {sentence(error)}")
