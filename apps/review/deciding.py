"""What the decision buttons do: save first, answer then."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from apps.review import session
from apps.review.access import open_store
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
    "undo": "undone",
}


def decide(
    case_id: str, item: Item, action: Action, *, items: Sequence[Item], label: str = ""
) -> None:
    """Save a decision about an item, then choose the next undecided one.

    A second press that asks for what already stands by the same reader adds nothing.
    """
    order = Decision(
        case_id=case_id,
        finding_id=item.target or None,
        action=action,
        reader=session.reader(),
        label=label,
        note=str(st.session_state.get(note_key(case_id, item.target), "")).strip(),
    )
    if _save(order, version=item.version):
        session.choose(case_id, next_target(items, item.target))


def undo(case_id: str, item: Item, *, decisions: Sequence[DecisionRow]) -> None:
    """Take back the reader's decision about an item, or else their last one in the case.

    What another reader decided later stays, and so does what it stands on.
    """
    name = session.reader()
    target = undo_target(decisions, item.target, reader=name)
    if name and target is None:
        session.refuse("Nothing to undo: no decision of yours is the last word here.")
        return
    finding_id = target or None
    version = version_of(row for row in decisions if row.finding_id == finding_id)
    order = Decision(case_id=case_id, finding_id=finding_id, action="undo", reader=name)
    if _save(order, version=version):
        session.choose(case_id, target or WHOLE_CASE)


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


def _save(order: Decision, *, version: int) -> bool:
    if not order.reader:
        session.refuse(NO_READER)
        return False
    try:
        open_store().decide(order, expected_version=version)
    except StoreConflictError as error:
        if not _stands(order):
            session.refuse(f"Not saved, and the page now shows what stands: {sentence(error)}")
        return False
    except MedvitError as error:
        session.refuse(f"Not saved: {sentence(error)}")
        return False
    st.session_state.pop(note_key(order.case_id, order.finding_id or WHOLE_CASE), None)
    st.session_state["saved"] = f"Saved: {SAVED.get(order.action, order.action)}"
    return True


def _stands(order: Decision) -> bool:
    """Return whether the newest decision about the same thing says the same, by the same reader."""
    decisions = open_store().list_decisions(order.case_id)
    about = [row for row in decisions if row.finding_id == order.finding_id]
    if not about:
        return False
    last = about[-1]
    return (last.action, last.reader, last.label) == (order.action, order.reader, order.label)
