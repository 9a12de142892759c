"""The review page: the pixels of one case on the left, its findings on the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import streamlit as st

from apps.review import session
from apps.review.access import TOKEN, case_of, open_store
from apps.review.classes import class_names
from apps.review.components import draw_part, draw_viewer
from apps.review.deciding import decide, note_key, undo
from apps.review.items import Item, as_data, box_data, circle_data, history_of, items_of
from apps.review.notices import sentence, tell
from apps.review.planes import OBLIQUE_DEG, obliqueness_deg, planes_of
from apps.review.routes import BASE, open_pile
from apps.review.worklist import next_case
from medvit.errors import ReadError
from medvit.store.rows import Action, CaseRow, DecisionRow
from medvit.store.store import Store
from medvit.volume.volume import Volume
from medvit.volume.window import PRESETS

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

UNREADABLE = ("refuse", "fail")


@dataclass(frozen=True, slots=True)
class Desk:
    """What lies on the desk: one case with everything that was said about it.

    Attributes:
        items: What can be decided, in the order of the list.
        chosen: The one that buttons and keys act on.
        volume: Of a CT case that can be opened.
        failure: Why the pixels cannot be shown; empty when they can.
    """

    case: CaseRow
    items: Sequence[Item]
    chosen: Item
    decisions: Sequence[DecisionRow]
    classes: Sequence[str]
    volume: Volume | None
    failure: str

    @property
    def position(self) -> int:
        """Index of the chosen item in the list."""
        return [item.target for item in self.items].index(self.chosen.target)

    @property
    def is_done(self) -> bool:
        """Whether nothing of the case waits for a decision."""
        return all(item.state != "new" for item in self.items)


def show_review() -> None:
    """Draw the case that the address names."""
    store = open_store()
    case_id = str(st.query_params.get("case", ""))
    case = store.get_case(case_id) if case_id else None
    if case is None:
        missing = f"There is no case {case_id} in this store." if case_id else "No case is open."
        tell(f"{missing} Choose one from the worklist.", tone="notice")
        return
    desk = _lay_desk(store, case)
    _draw_head(store, desk)
    if case.verdict in UNREADABLE:
        tell(f"{case.verdict.capitalize()} ({case.reason}): {case.message}", tone="refusal")
    else:
        viewer, panel = st.columns([2.75, 1], gap="small")
        with viewer:
            _draw_pixels(desk)
        with panel, st.container(key="panel"):
            _draw_panel(desk)
    if saved := st.session_state.pop("saved", ""):
        st.toast(saved, icon=":material/check:")


def _lay_desk(store: Store, case: CaseRow) -> Desk:
    rows, decisions = store.list_findings(case.case_id), store.list_decisions(case.case_id)
    volume, failure = _open(case)
    items = items_of(case, rows, None if volume is None else volume.shape[0])
    wanted = session.chosen(case.case_id)
    undecided = next((item for item in items if item.state == "new"), items[0])
    chosen = next((item for item in items if item.target == wanted), undecided)
    session.choose(case.case_id, chosen.target)
    return Desk(case, items, chosen, decisions, class_names(case, rows), volume, failure)


def _open(case: CaseRow) -> tuple[Volume | None, str]:
    """Return the volume of a CT case, or the sentence that says why there is none."""
    if case.kind == "image" or case.verdict in UNREADABLE:
        return None, ""
    try:
        return open_pile(case_of(case)).volume, ""
    except ReadError as error:
        return None, f"The pixels of this case cannot be read: {sentence(error)}"
    except OSError as error:
        return None, f"The files of this case cannot be read: {error.strerror or error}"


def _draw_head(store: Store, desk: Desk) -> None:
    case = desk.case
    with st.container(horizontal=True, vertical_alignment="center", key="case_head"):
        st.text(case.source, width="content")
        st.text(_state_text(desk), width="content")
        st.space("stretch")
        follower = next_case(store, case)
        if desk.is_done:
            offer = "Everything here is decided." if follower else "The worklist is done."
            st.text(offer, width="content")
        st.button(
            "Next case",
            key="next_case",
            type="primary" if desk.is_done else "secondary",
            disabled=follower is None,
            on_click=_go_to,
            args=(follower.case_id if follower else "",),
        )
    if case.verdict == "repair":
        tell(f"Repaired while reading: {case.message}", tone="caution")


def _state_text(desk: Desk) -> str:
    decided = sum(item.state != "new" for item in desk.items)
    if desk.case.verdict in UNREADABLE:
        return "not examined"
    if not desk.items[0].number:
        return "no findings"
    return f"{decided} of {len(desk.items)} findings reviewed"


def _go_to(case_id: str) -> None:
    st.query_params["case"] = case_id


def _draw_pixels(desk: Desk) -> None:
    case = desk.case
    if desk.failure:
        tell(desk.failure, tone="caution")
        return
    data = _ct_data(desk, desk.volume) if desk.volume is not None else _image_data(desk)
    shared = {
        "token": TOKEN,
        "base": f"{BASE}/{case.case_id}",
        "selected": desk.chosen.target,
        "jump": session.jumps(),
    }
    pick = partial(session.pick, case.case_id)
    draw_viewer({**data, **shared}, kind=case.kind, key=f"viewer_{case.case_id}", on_pick=pick)


def _ct_data(desk: Desk, volume: Volume) -> dict[str, Any]:
    affine = volume.affine_lps
    turned = obliqueness_deg(affine)
    note = f"oblique by {turned:.0f}°: planes follow the scan" if turned > OBLIQUE_DEG else ""
    planes = planes_of(volume.shape, affine)
    return {
        "geometry": {
            "shape": list(volume.shape),
            "affine": affine.tolist(),
            "planes": [plane.as_data() for plane in planes],
            "note": note,
        },
        "presets": [
            {"name": name.capitalize(), "centre": window.centre_hu, "width": window.width_hu}
            for name, window in PRESETS.items()
        ],
        "findings": [data for item in desk.items if (data := circle_data(item, affine))],
    }


def _image_data(desk: Desk) -> dict[str, Any]:
    """Return where the browser finds the picture; this page itself reads no pixels."""
    case = desk.case
    finding = desk.chosen.finding
    model = finding.model if finding is not None else ""
    return {
        "image": f"{BASE}/{case.case_id}/image",
        "heat": f"{BASE}/{case.case_id}/heat?model={quote(model)}" if model else "",
        "model": model,
        "findings": [box_data(item) for item in desk.items],
    }


def _draw_panel(desk: Desk) -> None:
    _part(desk, "card", _card_data(desk))
    _draw_decisions(desk)
    _draw_relabel(desk)
    _part(desk, "list", _list_data(desk))
    history = history_of(desk.decisions, desk.chosen.target)
    _part(desk, "history", {"history": history})


def _part(desk: Desk, part: str, data: dict[str, Any]) -> None:
    draw_part(
        {"part": part, **data},
        key=f"{part}_{desk.case.case_id}",
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
            "about": _about(desk),
            "title": item.title,
            "state": item.state,
            "facts": facts,
            "saved": saved,
        }
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
    case_id, item = desk.case.case_id, desk.chosen
    left, right = st.columns(2, gap="small")
    for column, name, action in (
        (left, "Accept", "accept"),
        (right, "Reject", "reject"),
        (left, "Unsure", "unsure"),
    ):
        press = partial(decide, case_id, item, cast("Action", action), items=desk.items)
        column.button(name, key=_button_key(action, desk), on_click=press, width="stretch")
    take_back = partial(undo, case_id, item, decisions=desk.decisions)
    right.button("Undo", key=_button_key("undo", desk), on_click=take_back, width="stretch")
    _draw_step(left, "Previous", -1, desk)
    _draw_step(right, "Next", 1, desk)


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


def _about(desk: Desk) -> str:
    """Name what the panel is drawn for: the chosen finding as it stands now."""
    return f"{desk.chosen.target or desk.case.case_id}_{desk.chosen.version}"


def _button_key(action: str, desk: Desk) -> str:
    """Bind a button to the finding it was drawn for: a late press cannot hit another one."""
    return f"desk_{action}_{_about(desk)}"


def _draw_relabel(desk: Desk) -> None:
    case_id, item = desk.case.case_id, desk.chosen
    if desk.case.kind == "image":
        label = item.label if item.number else desk.case.label_now
        palette = {
            "classes": list(desk.classes),
            "label": label,
            "target": item.target,
            "allowed": True,
        }
        _part(desk, "palette", palette)
    choice, button = st.columns([1.7, 1], gap="small", vertical_alignment="bottom")
    label = choice.selectbox(
        "Label",
        desk.classes,
        index=desk.classes.index(item.label) if item.label in desk.classes else 0,
        key=f"label_{case_id}_{item.target}_{item.version}",
        accept_new_options=True,
        label_visibility="collapsed",
        placeholder="Label",
    )
    button.button(
        "Relabel",
        key=_button_key("relabel", desk),
        on_click=_relabel,
        args=(desk, label or ""),
        width="stretch",
    )
    st.text_input(
        "Note",
        key=note_key(case_id, item.target),
        placeholder="Note, kept with the next decision",
        max_chars=2000,
        label_visibility="collapsed",
    )


def _relabel(desk: Desk, label: str) -> None:
    if not label.strip():
        session.refuse("Not saved: choose or type the label that is right, then press Relabel.")
        return
    decide(desk.case.case_id, desk.chosen, "relabel", items=desk.items, label=label.strip())


def _relabel_target(desk: Desk, target: str, label: str) -> None:
    """Relabel by the palette, unless it was drawn for another finding than the chosen one."""
    if target == desk.chosen.target:
        _relabel(desk, label)
