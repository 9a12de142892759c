"""The parts of the pages that run in the browser; each draws data with `textContent` only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from apps.review.assets import asset

Picked = Callable[[], None]

CT_SCRIPTS = (
    "dom.js",
    "scan.js",
    "slices.js",
    "marks.js",
    "measure.js",
    "gestures.js",
    "plane.js",
    "compare.js",
    "ct.js",
)

_desk = st.components.v2.component(
    "medvit_desk",
    html='<div class="mv-desk"></div>',
    js=asset("dom.js", "help.js", "desk.js"),
    isolate_styles=False,
)
_worklist = st.components.v2.component(
    "medvit_worklist",
    html='<div class="mv-worklist"></div>',
    js=asset("dom.js", "worklist.js"),
    isolate_styles=False,
)
_part = st.components.v2.component(
    "medvit_findings",
    html='<div class="mv-part"></div>',
    js=asset("dom.js", "findings.js"),
    isolate_styles=False,
)
_ct = st.components.v2.component(
    "medvit_ct",
    html='<div class="mv-ct"></div>',
    css=asset("ct.css"),
    js=asset(*CT_SCRIPTS),
    isolate_styles=False,
)


def keep_desk(*, reader: str, turn: int, on_name: Callable[[str], None]) -> None:
    """Listen to the keys of the desk and keep the reader's name in the browser.

    Args:
        reader: The name to keep; empty asks the browser for the one it kept.
        turn: Number of this run of the page: one key is taken per turn.
        on_name: Called with the name the browser kept.
    """

    def remembered() -> None:
        name = _sent("desk", "remembered")
        if isinstance(name, str):
            on_name(name)

    _desk(key="desk", data={"reader": reader, "turn": turn}, on_remembered_change=remembered)


def draw_cases(data: dict[str, Any], *, key: str, on_open: Callable[[str], None]) -> None:
    """Draw rows of the worklist, or its counts; a click on a row sends its case id."""

    def opened() -> None:
        case_id = _sent(key, "opened")
        if isinstance(case_id, str):
            on_open(case_id)

    _worklist(key=key, data=data, on_opened_change=opened)


def draw_part(
    data: dict[str, Any],
    *,
    key: str,
    on_pick: Callable[[str], None],
    on_relabel: Callable[[str, str], None],
) -> None:
    """Draw a part of the findings panel.

    Args:
        data: With `part`: `card`, `palette`, `list` or `history`.
        key: Unique on the page.
        on_pick: Called with the id of the finding that was clicked.
        on_relabel: Called with the target the palette was drawn for and the class.
    """

    def picked() -> None:
        finding_id = _sent(key, "picked")
        if isinstance(finding_id, str):
            on_pick(finding_id)

    def relabelled() -> None:
        sent = _sent(key, "relabelled")
        if isinstance(sent, dict):
            on_relabel(str(sent.get("target", "")), str(sent.get("label", "")))

    _part(key=key, data=data, on_picked_change=picked, on_relabelled_change=relabelled)


def draw_viewer(
    data: dict[str, Any],
    *,
    key: str,
    on_pick: Callable[[str], None],
    on_add: Callable[[dict[str, float]], None] | None = None,
) -> None:
    """Draw the CT viewer.

    Args:
        data: What the viewer shows.
        key: Unique on the page.
        on_pick: Called with the id of a finding that was clicked.
        on_add: Called with the geometry of a finding that was drawn, as `Decision` holds it;
            without it the viewer offers no way to add one.
    """

    def picked() -> None:
        finding_id = _sent(key, "picked")
        if isinstance(finding_id, str):
            on_pick(finding_id)

    def added() -> None:
        sent = _sent(key, "added")
        if on_add is not None and isinstance(sent, dict):
            on_add({str(name): value for name, value in sent.items()})

    shown = {**data, "canAdd": on_add is not None}
    _ct(key=key, data=shown, on_picked_change=picked, on_added_change=added)


def _sent(key: str, name: str) -> object:
    """Return what a component just sent; None when it sent nothing."""
    state = st.session_state.get(key)
    return None if state is None else state.get(name)
