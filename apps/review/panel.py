"""The panel beside a viewer: what is chosen, the buttons, what is known, the list, the history."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import streamlit as st

from apps.review import pace, session
from apps.review.components import draw_part
from apps.review.deciding import decide, note_key, reason_key, undo
from apps.review.desk import Desk
from apps.review.explaining import draw_explanation
from apps.review.items import as_data, history_of
from apps.review.knowledge import known_of
from medvit.store.rows import Action

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

REASONS: dict[str, tuple[str, ...]] = {
    "ct": ("vessel", "airway", "scar", "lymph_node", "artefact", "motion", "too_small", "twice"),
    "image": ("dirt", "lighting", "edge", "texture", "blurred", "too_small", "twice"),
}
"""Why a finding is rejected or doubted, in one word; the store keeps it beside the decision."""


def draw_panel(desk: Desk) -> None:
    """Draw the panel of the item that is chosen."""
    pace.look_at(desk.case.case_id, desk.chosen.target)
    _part(desk, "card", _card_data(desk))
    _draw_decisions(desk)
    if desk.case.kind == "image":
        _part(desk, "palette", _palette_data(desk))
    _draw_relabel(desk)
    _draw_why(desk)
    _part(desk, "list", _list_data(desk))
    _part(desk, "known", known_of(desk))
    draw_explanation(desk)
    history = history_of(desk.decisions, desk.chosen.target)
    _part(desk, "history", {"history": history})


def _part(desk: Desk, part: str, data: dict[str, Any]) -> None:
    draw_part(
        {"part": part, **data},
        key=f"part_{part}",  # the same for all cases: drawn anew, not built anew
        on_pick=partial(session.pick, desk.case.case_id),
        on_relabel=partial(_relabel_target, desk),
    )


def _card_data(desk: Desk) -> dict[str, Any]:
    item, saved = desk.chosen, None
    if item.decided_at is not None and item.state != "new":
        saved = {"by": item.decided_by, "at": item.decided_at.isoformat()}
    facts = [list(fact) for fact in item.facts]
    return {
        "chosen": {
            "about": desk.about,
            "title": item.title,
            "state": item.state,
            "facts": facts,
            "saved": saved,
        }
    }


def _palette_data(desk: Desk) -> dict[str, Any]:
    item = desk.chosen
    return {
        "classes": list(desk.classes),
        "label": item.label if item.number else desk.case.label_now,
        "target": desk.about,
        "allowed": True,
    }


def _list_data(desk: Desk) -> dict[str, Any]:
    listed = [as_data(item) for item in desk.items if item.number]
    heading = f"Findings ({len(listed)})" if listed else "Findings"
    return {
        "findings": listed,
        "selected": desk.chosen.target,
        "heading": heading,
        "empty": "The model found nothing here. Accept to agree, reject to disagree.",
    }


def _draw_decisions(desk: Desk) -> None:
    left, right = st.columns(2, gap="small")
    for column, name, action in (
        (left, "Accept", "accept"),
        (right, "Reject", "reject"),
        (left, "Unsure", "unsure"),
        (right, "Skip", "skip"),
    ):
        press = partial(decide, desk, cast("Action", action))
        column.button(name, key=_button_key(action, desk), on_click=press, width="stretch")
    first, second, third = st.columns(3, gap="small")
    first.button(
        "Undo", key=_button_key("undo", desk), on_click=partial(undo, desk), width="stretch"
    )
    _draw_step(second, "Previous", -1, desk)
    _draw_step(third, "Next", 1, desk)


def _draw_step(column: DeltaGenerator, name: str, step: int, desk: Desk) -> None:
    place = desk.position + step
    inside = 0 <= place < len(desk.items)
    column.button(
        name,
        key=f"desk_{name.lower()}",
        on_click=session.pick,
        args=(desk.case.case_id, desk.items[place].target if inside else desk.chosen.target),
        disabled=not inside,
        width="stretch",
    )


def _button_key(action: str, desk: Desk) -> str:
    """Bind a button to the finding it was drawn for: a late press cannot hit another one."""
    return f"desk_{action}_{desk.about}"


def _draw_relabel(desk: Desk) -> None:
    case_id, item = desk.case.case_id, desk.chosen
    choice, button = st.columns([1.7, 1], gap="small", vertical_alignment="bottom")
    label = choice.selectbox(
        "Label",
        desk.classes,
        index=desk.classes.index(item.label) if item.label in desk.classes else 0,
        key=f"label_{case_id}_{item.target}_{item.version}",
        accept_new_options=True,
        label_visibility="collapsed",
        placeholder="Label (r)",
    )
    button.button(
        "Relabel",
        key=_button_key("relabel", desk),
        on_click=_relabel,
        args=(desk, label or ""),
        width="stretch",
    )


def _draw_why(desk: Desk) -> None:
    """Draw reason and note; both go with the next decision."""
    reason, note = st.columns([1, 1.7], gap="small", vertical_alignment="bottom")
    reason.selectbox(
        "Reason",
        REASONS[desk.case.kind],
        index=None,
        key=reason_key(desk),
        format_func=_words,
        label_visibility="collapsed",
        placeholder="Reason (c)",
    )
    note.text_input(
        "Note",
        key=note_key(desk.case.case_id, desk.chosen.target),
        placeholder="Note (t)",
        max_chars=2000,
        label_visibility="collapsed",
    )


def _words(code: str) -> str:
    return code.replace("_", " ")


def _relabel(desk: Desk, label: str) -> None:
    if not label.strip():
        session.refuse("Not saved: choose or type the label that is right, then press Relabel.")
        return
    decide(desk, "relabel", label=label.strip())


def _relabel_target(desk: Desk, target: str, label: str) -> None:
    """Relabel by the palette, unless it was drawn for another finding than the chosen one."""
    if target == desk.about:
        _relabel(desk, label)
