"""The review page: the pixels of one case on the left, its findings on the right."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from apps.review import pace, session
from apps.review.access import open_store
from apps.review.answering import BASE
from apps.review.components import draw_viewer
from apps.review.deciding import decide
from apps.review.desk import Desk, lay_desk
from apps.review.geometry import geometry_of, presets
from apps.review.items import circles_of
from apps.review.names import shown_message, shown_name
from apps.review.notices import tell
from apps.review.panel import draw_panel
from apps.review.picture_view import draw_picture
from apps.review.signin import actor, ticket
from medvit.store.rows import CaseRow
from medvit.volume.volume import Volume


def show_review() -> None:
    """Draw the case that the address names."""
    store = open_store()
    case_id = str(st.query_params.get("case", ""))
    case = store.get_case(case_id) if case_id else None
    if case is None:
        missing = f"There is no case {case_id} in this store." if case_id else "No case is open."
        tell(f"{missing} Choose one from the worklist.", tone="notice")
        return
    desk = lay_desk(store, case)
    _draw_head(desk)
    if not desk.has_pixels:
        tell(_refusal(case), tone="refusal")
    else:
        _draw_desk(desk)
    if saved := st.session_state.pop("saved", ""):
        st.toast(saved, icon=":material/check:")


def _draw_desk(desk: Desk) -> None:
    viewer, panel = st.columns([2.75, 1], gap="small")
    with viewer:
        if desk.failure:
            tell(desk.failure, tone="caution")
        elif desk.volume is not None:
            _draw_scan(desk, desk.volume)
        else:
            draw_picture(desk)
    with panel, st.container(key="panel"):
        draw_panel(desk)


def _draw_head(desk: Desk) -> None:
    case = desk.case
    with st.container(horizontal=True, vertical_alignment="center", key="case_head"):
        st.text(shown_name(case, actor()), width="content")
        st.text(_state_text(desk), width="content")
        st.space("stretch")
        if desk.is_done:
            offer = "Everything here is decided." if desk.follower else "The worklist is done."
            st.text(offer, width="content")
        pace.draw_switch(case.kind)
        st.button(
            "Next case",
            key="next_case",
            type="primary" if desk.is_done else "secondary",
            disabled=not desk.follower,
            on_click=pace.go_to,
            args=(desk.follower,),
        )
    if case.verdict == "repair":
        tell(f"Repaired while reading: {shown_message(case, actor())}", tone="caution")
    elif desk.has_pixels and case.message and case.verdict != "accept":
        tell(_refusal(case), tone="caution")


def _refusal(case: CaseRow) -> str:
    return f"{case.verdict.capitalize()} ({case.reason}): {shown_message(case, actor())}"


def _state_text(desk: Desk) -> str:
    decided = sum(item.state != "new" for item in desk.items)
    if not desk.has_pixels:
        return "not examined"
    if not desk.items[0].number:
        return "no findings"
    return f"{decided} of {len(desk.items)} findings reviewed"


def _draw_scan(desk: Desk, volume: Volume) -> None:
    case_id = desk.case.case_id
    data: dict[str, Any] = {
        "geometry": geometry_of(volume),
        "presets": presets(),
        "findings": circles_of(desk.items, volume.affine_lps),
        "ticket": ticket(),
        "base": f"{BASE}/{case_id}",
        "selected": desk.chosen.target,
        "jump": session.jumps(),
    }
    pick = partial(session.pick, case_id)
    draw_viewer(data, key=f"viewer_{case_id}", on_pick=pick, on_add=partial(_add, desk))


def _add(desk: Desk, geometry: dict[str, float]) -> None:
    """Add what a reader marked in a scan, under the label that the panel shows."""
    label = desk.chosen.label if desk.chosen.number else desk.classes[0]
    decide(desk, "add", label=label, geometry=geometry)
