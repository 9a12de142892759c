"""A case on the desk: claimed while it is open, so that two readers know of each other."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from apps.review import session
from apps.review.access import open_store
from apps.review.notices import sentence, tell
from medvit.errors import StoreError
from medvit.store.rows import Claim

RENEWED_EVERY_S = 240
"""Well below the 15 minutes that a claim lasts."""


def hold(case_id: str) -> None:
    """Claim the case on the page, let go of the one before, and say who else has it."""
    name = session.reader()
    if not name or open_store().get_case(case_id) is None:
        return
    if st.session_state.get("held") != (case_id, name):
        let_go()
    claim = _claim(case_id, name)
    if claim is not None and claim.reader != name:
        _draw_holder(claim, name)
    _renew(case_id, name, claim.reader if claim is not None else "")


def let_go() -> None:
    """Give back the case that was on the desk."""
    case_id, name = st.session_state.pop("held", ("", ""))
    if case_id:
        open_store().release(case_id, name)


@st.fragment(run_every=RENEWED_EVERY_S)
def _renew(case_id: str, name: str, holder: str) -> None:
    """Renew the claim as long as the page is open; draw it anew when somebody else has it."""
    if st.session_state.pop("just_claimed", False):
        return
    claim = _claim(case_id, name)
    if claim is not None and claim.reader != holder:
        st.rerun(scope="app")


def _claim(case_id: str, name: str) -> Claim | None:
    """Return the claim that stands; None when the store cannot be written, which is said."""
    st.session_state["just_claimed"] = True
    try:
        claim = open_store().claim(case_id, name)
    except StoreError as error:
        tell(f"The case could not be claimed: {sentence(error)}", tone="caution")
        return None
    if claim.reader == name:
        st.session_state["held"] = (case_id, name)
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
