"""The image viewer on the page: what it is given, and what a reader draws in it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import streamlit as st

from apps.review import session
from apps.review.access import open_store
from apps.review.alike import neighbours_of, partners_of
from apps.review.answering import BASE
from apps.review.assets import asset
from apps.review.deciding import decide
from apps.review.desk import Desk
from apps.review.items import box_data
from apps.review.signin import ticket
from medvit.store.rows import CaseRow

BOX = ("x_min", "y_min", "x_max", "y_max")
SCRIPTS = (
    "dom.js",
    "tiles.js",
    "heat.js",
    "boxes.js",
    "view.js",
    "editing.js",
    "image_bar.js",
    "image.js",
)

_image = st.components.v2.component(
    "medvit_image",
    html='<div class="mv-image"></div>',
    js=asset(*SCRIPTS),
    isolate_styles=False,
)


def draw_picture(desk: Desk) -> None:
    """Draw the image viewer; this page itself reads no pixels."""
    case_id = desk.case.case_id
    key = "image_viewer"  # the same for all cases: drawn anew, not built anew

    def sent(name: str) -> object:
        state = st.session_state.get(key)
        return None if state is None else state.get(name)

    def picked() -> None:
        target = sent("picked")
        if isinstance(target, str):
            session.pick(case_id, target)

    def drawn() -> None:
        take_box(desk, sent("drawn"))

    _image(
        key=key,
        data=picture_data(desk),
        on_picked_change=picked,
        on_drawn_change=drawn,
    )


def picture_data(desk: Desk) -> dict[str, Any]:
    """Return where the browser finds the picture, and what is drawn over it."""
    case = desk.case
    finding = desk.chosen.finding
    model = finding.model if finding is not None else ""
    store = open_store()
    return {
        "ticket": ticket(),
        "base": _address(case.case_id),
        "next": _address(desk.follower) if desk.follower else "",
        "heat": f"{_address(case.case_id)}/heat?model={quote(model)}" if model else "",
        "model": model,
        "findings": [box_data(item) for item in desk.items],
        "selected": desk.chosen.target,
        "about": desk.about,
        "jump": session.jumps(),
        "classes": list(desk.classes),
        "label": desk.chosen.label if desk.chosen.number else case.label_now,
        "partners": [_beside(row) for row in partners_of(store, case)],
        "neighbours": [
            {**_beside(row), "share": share, "label": row.label_now}
            for row, share in neighbours_of(store, case)
        ],
    }


def take_box(desk: Desk, sent: object) -> None:
    """Save a box that was drawn or moved, unless it was meant for another finding.

    Args:
        desk: As it is now.
        sent: From the browser: `about` as the viewer was given it, `target` (empty for a new
            box), `box` in pixels, `label`, and `token`, which names this press.
    """
    if not isinstance(sent, dict) or sent.get("about") != desk.about:
        session.refuse("Not saved: the finding changed while its box was drawn. Draw it again.")
        return
    box = sent.get("box")
    if not isinstance(box, list) or len(box) != len(BOX):
        return
    geometry = {name: float(value) for name, value in zip(BOX, box, strict=True)}
    token = str(sent.get("token", ""))
    if sent.get("target"):
        decide(desk, "adjust", geometry=geometry, token=token)
    else:
        decide(desk, "add", label=str(sent.get("label", "")), geometry=geometry, token=token)


def _beside(row: CaseRow) -> dict[str, Any]:
    return {"id": row.case_id, "source": row.source, "base": _address(row.case_id)}


def _address(case_id: str) -> str:
    return f"{BASE}/{quote(case_id)}"
