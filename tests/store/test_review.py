"""Adding up decisions, against a slow reference."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from medvit.store.review import Standing, fold, standing_decisions
from medvit.store.rows import Action, DecisionRow

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
ACTIONS = st.sampled_from(["accept", "reject", "unsure", "relabel", "undo"])


def _rows(actions: list[Action]) -> list[DecisionRow]:
    """Return a history; an undo takes back what a stack says, or is left out."""
    rows: list[DecisionRow] = []
    stack: list[int] = []
    for number, action in enumerate(actions, start=1):
        if action == "undo" and not stack:
            continue
        undoes = stack.pop() if action == "undo" else None
        if action != "undo":
            stack.append(number)
        label = f"label {number}" if action == "relabel" else ""
        rows.append(DecisionRow(number, "c", "f", action, "A", label, "", None, MOMENT, undoes))
    return rows


def _replayed(actions: list[Action]) -> tuple[str, str]:
    """Return state and label by playing the history on a stack of snapshots."""
    states = [("new", "")]
    for number, action in enumerate(actions, start=1):
        if action == "undo":
            states = states[:-1] or states
        else:
            label = f"label {number}" if action == "relabel" else states[-1][1]
            states.append((action, label))
    return states[-1]


def test_nothing_decided_is_new() -> None:
    assert fold([]) == Standing()


@given(actions=st.lists(ACTIONS, max_size=20))
def test_undo_goes_back_step_by_step(actions: list[Action]) -> None:
    result = fold(_rows(actions))
    assert (result.state, result.label) == _replayed(actions)


@given(actions=st.lists(ACTIONS, max_size=20))
def test_the_version_is_the_last_row_and_nothing_undone_stands(actions: list[Action]) -> None:
    rows = _rows(actions)
    assert fold(rows).version == max((row.id for row in rows), default=0)
    undone = {row.undoes_id for row in rows}
    assert all(row.id not in undone for row in standing_decisions(rows))
