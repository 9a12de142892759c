"""What the decision buttons do: save first, answer then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from apps.review import pace, session
from apps.review.access import open_store
from apps.review.desk import Desk
from apps.review.items import WHOLE_CASE, Item
from apps.review.notices import sentence
from medvit.errors import MedvitError, StoreConflictError
from medvit.store.review import standing_decisions, version_of
from medvit.store.rows import Action, Decision, DecisionRow

NO_READER = (
    "Not saved: a decision needs the name of its reader. "
    "Type your name into the field Reader at the top right, then decide again."
)
SAVED = {
    "accept": "accepted",
    "reject": "rejected",
    "unsure": "marked as unsure",
    "relabel": "relabelled",
    "add": "added",
    "adjust": "moved",
    "skip": "skipped",
    "undo": "undone",
}
Geometry = Mapping[str, float]


def decide(
    desk: Desk,
    action: Action,
    *,
    label: str = "",
    geometry: Geometry | None = None,
    token: str = "",
) -> None:
    """Save a decision, then go on: to the next undecided item, or to the next case.

    A second press that asks for what already stands by the same reader adds nothing.

    Args:
        desk: The decision is about its chosen item; `add` and `skip` are about its case.
        action: What is decided.
        label: For `relabel` and `add`.
        geometry: For `adjust` and `add`, as `Decision` holds it.
        token: Name of this press, from the browser; the same is never saved twice.
    """
    case_id, item = desk.case.case_id, desk.chosen
    is_about_item = action not in ("add", "skip")
    order = Decision(
        case_id=case_id,
        finding_id=(item.target or None) if is_about_item else None,
        action=action,
        reader=session.reader(),
        label=label,
        note=str(st.session_state.get(note_key(case_id, item.target), "")).strip(),
        geometry=geometry,
        reason_code=str(st.session_state.get(reason_key(desk)) or ""),
        seconds=pace.seconds_on(case_id, item.target),
        token=token,
    )
    saved = _save(order, version=item.version if is_about_item else None)
    if saved is not None:
        st.session_state.pop(note_key(case_id, item.target), None)
        _go_on(desk, saved)


def undo(desk: Desk) -> None:
    """Take back the reader's decision about the chosen item, or else their last one in the case.

    Right after going on to a case by itself, the decision is in the case before, and that is
    shown again. What another reader decided later stays, and so does what it stands on.
    """
    case_id, target, decisions = desk.case.case_id, desk.chosen.target, desk.decisions
    left = pace.came_from(case_id)
    if left is not None:
        case_id, target = left
        try:
            decisions = open_store().list_decisions(case_id)
        except MedvitError as error:
            session.refuse(f"Not saved: {sentence(error)}")
            return
    name = session.reader()
    found = undo_target(decisions, target, reader=name)
    if name and found is None:
        session.refuse("Nothing to undo: no decision of yours is the last word here.")
        return
    finding_id = found or None
    version = version_of(row for row in decisions if row.finding_id == finding_id)
    order = Decision(case_id=case_id, finding_id=finding_id, action="undo", reader=name)
    if _save(order, version=version) is not None:
        session.choose(case_id, found or WHOLE_CASE)
        if left is not None:
            pace.go_to(case_id)


def undo_target(decisions: Sequence[DecisionRow], target: str, *, reader: str) -> str | None:
    """Return what an undo is about: the target, or where the reader decided last.

    Only where the reader's decision is the newest that stands; None when there is no such.
    """
    last_words = {row.finding_id or WHOLE_CASE: row for row in standing(decisions)}
    mine = {about: row.id for about, row in last_words.items() if row.reader == reader}
    return target if target in mine else max(mine, key=mine.__getitem__, default=None)


def standing(decisions: Sequence[DecisionRow]) -> list[DecisionRow]:
    """Return the decisions that were not taken back, oldest first."""
    return standing_decisions(decisions)


def next_target(items: Sequence[Item], target: str) -> str:
    """Return the next undecided item after a target, from the top again at the end.

    Without one the target stays.
    """
    order = [item.target for item in items]
    start = order.index(target) + 1 if target in order else 0
    after = [*items[start:], *items[:start]]
    return next(
        (item.target for item in after if item.state == "new" and item.target != target), target
    )


def note_key(case_id: str, target: str) -> str:
    """Return the name under which the note of one target is typed."""
    return f"note_{case_id}_{target}"


def reason_key(desk: Desk) -> str:
    """Return the name under which the reason for the next decision is chosen."""
    return f"reason_{desk.case.case_id}_{desk.about}"


def _go_on(desk: Desk, saved: DecisionRow) -> None:
    case_id, target = desk.case.case_id, desk.chosen.target
    pace.stay()
    if saved.action in ("add", "adjust"):
        session.pick(case_id, saved.finding_id or target)
        return
    following = next_target(desk.items, target)
    session.choose(case_id, following)
    is_last = following == target or saved.action == "skip"
    if desk.follower and is_last and (saved.action == "skip" or pace.goes_on(desk.case.kind)):
        pace.go_on(desk.follower, left=(case_id, saved.finding_id or WHOLE_CASE))


def _save(order: Decision, *, version: int | None) -> DecisionRow | None:
    """Return the decision as it was saved; None when it was not, which the page then says."""
    if not order.reader:
        session.refuse(NO_READER)
        return None
    try:
        saved = open_store().decide(order, expected_version=version)
    except StoreConflictError as error:
        if not _stands(order):
            session.refuse(f"Not saved, and the page now shows what stands: {sentence(error)}")
        return None
    except MedvitError as error:
        session.refuse(f"Not saved: {sentence(error)}")
        return None
    st.session_state["saved"] = f"Saved: {SAVED.get(order.action, order.action)}"
    return saved


def _stands(order: Decision) -> bool:
    """Return whether the newest decision about the same thing says the same, by the same reader."""
    decisions = open_store().list_decisions(order.case_id)
    about = [row for row in decisions if row.finding_id == order.finding_id]
    if not about:
        return False
    last = about[-1]
    return (last.action, last.reader, last.label) == (order.action, order.reader, order.label)
