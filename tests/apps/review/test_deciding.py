"""Which finding comes next, and which decisions stand."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from apps.review.deciding import next_target, standing, undo_target
from apps.review.items import Item
from medvit.store.rows import Action, DecisionRow, State

STATES: tuple[State, ...] = ("new", "accept", "reject")


def item(number: int, state: State) -> Item:
    return Item(f"f-{number}", number, "nodule", state, 0.5, "", (), "", None, 0)


def row(
    number: int, action: Action, *, undoes: int | None = None, by: str = "A", about: str = "f-1"
) -> DecisionRow:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return DecisionRow(number, "ct-1", about, action, by, "", "", None, moment, undoes)


def test_the_next_undecided_finding_follows() -> None:
    items = [item(1, "new"), item(2, "accept"), item(3, "new")]
    assert next_target(items, "f-1") == "f-3"
    assert next_target(items, "f-3") == "f-1"


def test_after_the_last_one_the_choice_stays() -> None:
    assert next_target([item(1, "reject"), item(2, "new")], "f-2") == "f-2"


@given(states=st.lists(st.sampled_from(STATES), min_size=1, max_size=8), data=st.data())
def test_pressing_on_meets_every_undecided_finding(
    states: list[State], data: st.DataObject
) -> None:
    items = [item(number, state) for number, state in enumerate(states)]
    target = data.draw(st.sampled_from([each.target for each in items]))
    met = {target}
    for _ in items:
        items = [item(each.number, "accept") if each.target == target else each for each in items]
        target = next_target(items, target)
        met.add(target)
    assert met >= {f"f-{number}" for number, state in enumerate(states) if state == "new"}


def test_an_undone_decision_stands_no_more() -> None:
    rows = [row(1, "accept"), row(2, "reject"), row(3, "undo", undoes=2)]
    assert [each.id for each in standing(rows)] == [1]


def test_undo_is_about_the_shown_finding_first() -> None:
    rows = [row(1, "accept", about="f-1"), row(2, "accept", about="f-2")]
    assert undo_target(rows, "f-1", reader="A") == "f-1"
    assert undo_target(rows, "f-3", reader="A") == "f-2"


def test_undo_never_takes_back_what_another_reader_said_later() -> None:
    rows = [row(1, "accept"), row(2, "reject", by="B")]
    assert undo_target(rows, "f-1", reader="A") is None
    assert undo_target(rows, "f-1", reader="B") == "f-1"
