"""Deciding: states, undo, conflicts, readers' own findings."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medvit.errors import StoreConflictError, StoreError
from medvit.store.rows import Action, CaseRow, Decision, FindingRow
from medvit.store.store import Store
from tests.make.results import ct_result, image_result

CENTRE = {"x_mm": 1.5, "y_mm": -2.0, "z_mm": 3.0, "diameter_mm": 8.0}
BOX = {"x_min": 1, "y_min": 2, "x_max": 5, "y_max": 9}
HOSTILE = "<script>alert('x')</script> Größe \N{SNOWMAN} \N{ROCKET}"


@pytest.fixture
def nodule_id(store: Store, run_id: int) -> str:
    """Return the id of the only finding of case ct-a."""
    result = ct_result("a", 0.5)
    store.save_result(run_id, result)
    return result.findings[0].finding_id


def _only(store: Store) -> FindingRow:
    (row,) = store.list_findings("ct-a")
    return row


def _case(store: Store, case_id: str = "ct-a") -> CaseRow:
    row = store.get_case(case_id)
    assert row is not None
    return row


def test_a_fresh_finding_is_new(store: Store, nodule_id: str) -> None:
    row = _only(store)
    assert (row.state, row.label_now, row.version) == ("new", "nodule", 0)
    assert _case(store).review == "new"


@pytest.mark.parametrize("action", ["accept", "reject", "unsure"])
def test_a_decision_is_dated_and_named(store: Store, nodule_id: str, action: Action) -> None:
    made = store.decide(Decision("ct-a", nodule_id, action, "  Ann  ", note="why"))
    row = _only(store)
    assert (row.state, row.decided_by, row.note) == (action, "Ann", "why")
    assert row.decided_at == made.decided_at == datetime(2026, 1, 2, 3, 2, tzinfo=UTC)
    assert row.version == made.id
    assert _case(store).review == "reviewed"


def test_a_new_label_holds_until_it_is_undone(store: Store, nodule_id: str) -> None:
    store.decide(Decision("ct-a", nodule_id, "relabel", "Ann", label="scar"))
    store.decide(Decision("ct-a", nodule_id, "accept", "Ben"))
    assert (_only(store).state, _only(store).label_now) == ("accept", "scar")
    store.decide(Decision("ct-a", nodule_id, "undo", "Ben"))
    assert (_only(store).state, _only(store).label_now) == ("relabel", "scar")
    store.decide(Decision("ct-a", nodule_id, "undo", "Ben"))
    assert (_only(store).state, _only(store).label_now) == ("new", "nodule")


def test_undo_adds_a_row_that_names_the_one_it_takes_back(store: Store, nodule_id: str) -> None:
    first = store.decide(Decision("ct-a", nodule_id, "reject", "Ann"))
    undo = store.decide(Decision("ct-a", nodule_id, "undo", "Ben"))
    assert undo.undoes_id == first.id
    assert store.list_decisions("ct-a") == [first, undo]
    assert _only(store).version == undo.id


def test_nothing_left_to_undo_is_said(store: Store, nodule_id: str) -> None:
    with pytest.raises(StoreError, match=f"no decision about finding {nodule_id} left to undo"):
        store.decide(Decision("ct-a", nodule_id, "undo", "Ann"))
    with pytest.raises(StoreError, match="about the case as a whole left to undo"):
        store.decide(Decision("ct-a", None, "undo", "Ann"))


def test_a_reader_adds_a_finding_and_takes_it_back(store: Store, nodule_id: str) -> None:
    added = store.decide(
        Decision(
            "ct-a",
            None,
            "add",
            "Ann",
            label="nodule",
            geometry=CENTRE | {"index_z": 4} | {"index_y": 5, "index_x": 6},
        )
    )
    row = store.list_findings("ct-a")[1]
    assert row.finding.finding_id == added.finding_id
    assert (row.state, row.finding.model, row.finding.source) == ("add", "", "a")
    assert (row.finding.z_mm, row.finding.index_z, row.geometry_now) == (3.0, 4, None)
    assert _case(store).n_findings == 2
    store.decide(Decision("ct-a", added.finding_id, "undo", "Ann"))
    assert len(store.list_findings("ct-a")) == 1
    with pytest.raises(StoreError, match="no finding"):
        store.decide(Decision("ct-a", added.finding_id, "accept", "Ann"))


def test_added_findings_have_ids_of_their_own(store: Store, nodule_id: str) -> None:
    order = Decision("ct-a", None, "add", "Ann", label="nodule", geometry=CENTRE)
    first, second = store.decide(order), store.decide(order)
    assert first.finding_id != second.finding_id
    assert len(store.list_findings("ct-a")) == 3


def test_an_added_finding_can_be_rejected_by_another(store: Store, nodule_id: str) -> None:
    order = Decision("ct-a", None, "add", "Ann", label="nodule", geometry=CENTRE)
    added = store.decide(order)
    store.decide(Decision("ct-a", added.finding_id, "reject", "Ben"))
    assert store.list_findings("ct-a")[1].state == "reject"


def test_an_adjusted_finding_shows_both_places(store: Store, nodule_id: str) -> None:
    store.decide(Decision("ct-a", nodule_id, "adjust", "Ann", geometry=CENTRE))
    row = _only(store)
    assert (row.finding.x_mm, row.finding.diameter_mm) == (1.0, 6.0)
    assert (row.current.x_mm, row.current.diameter_mm) == (1.5, 8.0)
    assert row.state == "adjust"


def test_an_image_as_a_whole_can_be_relabelled(store: Store, run_id: int) -> None:
    store.save_result(run_id, image_result("i.png", label="scratch"))
    assert _case(store, "im-i.png").review == "new"
    made = store.decide(Decision("im-i.png", None, "relabel", "Ann", label="pit"))
    row = _case(store, "im-i.png")
    assert (row.label, row.label_now, row.state) == ("scratch", "pit", "relabel")
    assert (row.review, row.version, row.decided_by) == ("reviewed", made.id, "Ann")
    assert row.decided_at == made.decided_at
    store.decide(Decision("im-i.png", None, "undo", "Ann"))
    row = _case(store, "im-i.png")
    assert (row.label_now, row.state, row.review) == ("scratch", "new", "new")


def test_a_reader_adds_a_box(store: Store, run_id: int) -> None:
    store.save_result(run_id, image_result("i.png"))
    store.decide(Decision("im-i.png", None, "add", "Ann", label="pit", geometry=BOX))
    (row,) = store.list_findings("im-i.png")
    assert (row.finding.x_min, row.finding.y_max, row.finding.label) == (1, 9, "pit")
    assert (row.finding.x_mm, row.finding.kind) == (None, "image")


def test_a_late_decision_meets_a_conflict_and_changes_nothing(store: Store, nodule_id: str) -> None:
    seen = _only(store).version
    first = store.decide(Decision("ct-a", nodule_id, "accept", "Ann"), expected_version=seen)
    with pytest.raises(StoreConflictError, match=f"decision {first.id} by 'Ann' .accept. came"):
        store.decide(Decision("ct-a", nodule_id, "reject", "Ben"), expected_version=seen)
    assert store.list_decisions("ct-a") == [first]
    store.decide(Decision("ct-a", nodule_id, "reject", "Ben"), expected_version=first.id)
    assert _only(store).state == "reject"


def test_an_undo_counts_as_a_decision_for_conflicts(store: Store, nodule_id: str) -> None:
    first = store.decide(Decision("ct-a", nodule_id, "accept", "Ann"))
    store.decide(Decision("ct-a", nodule_id, "undo", "Ann"))
    with pytest.raises(StoreConflictError):
        store.decide(Decision("ct-a", nodule_id, "reject", "Ben"), expected_version=first.id)


def test_decisions_about_other_things_are_no_conflict(store: Store, run_id: int) -> None:
    result = ct_result("a", 0.5, 0.6)
    store.save_result(run_id, result)
    one, two = (finding.finding_id for finding in result.findings)
    store.decide(Decision("ct-a", one, "accept", "Ann"), expected_version=0)
    store.decide(Decision("ct-a", two, "accept", "Ben"), expected_version=0)
    store.decide(Decision("ct-a", None, "accept", "Cem"), expected_version=0)
    assert _case(store).n_reviewed == 2


def test_what_readers_write_stays_text(store: Store, nodule_id: str) -> None:
    store.decide(Decision("ct-a", nodule_id, "relabel", HOSTILE, label=HOSTILE, note="a\n'--"))
    row = _only(store)
    assert (row.label_now, row.decided_by, row.note) == (HOSTILE, HOSTILE, "a\n'--")


def test_findings_of_other_cases_and_unknown_ones_are_refused(store: Store, nodule_id: str) -> None:
    with pytest.raises(StoreError, match="no finding 'f-x'"):
        store.decide(Decision("ct-a", "f-x", "accept", "Ann"))
    with pytest.raises(StoreError, match="no case 'ct-x'"):
        store.decide(Decision("ct-x", nodule_id, "accept", "Ann"))


def test_a_finding_of_another_case_is_refused(store: Store, run_id: int, nodule_id: str) -> None:
    store.save_result(run_id, ct_result("b", 0.5))
    with pytest.raises(StoreError, match=f"no finding '{nodule_id}'"):
        store.decide(Decision("ct-b", nodule_id, "accept", "Ann"))


def test_geometry_follows_the_kind_of_the_case(store: Store, nodule_id: str) -> None:
    with pytest.raises(StoreError, match="needs x_mm, y_mm, z_mm, diameter_mm"):
        store.decide(Decision("ct-a", None, "add", "Ann", label="n", geometry=BOX))


ACTIONS = st.sampled_from(["accept", "reject", "unsure", "relabel", "skip", "undo", "add"])


@pytest.mark.slow
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.tuples(st.integers(0, 3), ACTIONS), max_size=12))
def test_the_worklist_agrees_with_the_findings_after_any_decisions(
    store: Store, run_id: int, steps: list[tuple[int, Action]]
) -> None:
    name = f"case-{store.list_cases()[1]}"
    store.save_result(run_id, ct_result(name, 0.5, 0.6))
    for number, action in steps:
        subjects = [None, *(row.finding.finding_id for row in store.list_findings(f"ct-{name}"))]
        subject = None if action == "add" else subjects[number % len(subjects)]
        label = "other" if action in ("relabel", "add") else ""
        geometry = CENTRE if action == "add" else None
        order = Decision(f"ct-{name}", subject, action, "Ann", label=label, geometry=geometry)
        try:
            store.decide(order)
        except StoreError as error:
            assert "left to undo" in error.message  # noqa: PT017
    case, rows = _case(store, f"ct-{name}"), store.list_findings(f"ct-{name}")
    decided = sum(row.state != "new" for row in rows)
    assert (case.n_findings, case.n_reviewed) == (len(rows), decided)
    whole = case.state != "new"
    assert case.review == ("reviewed" if whole or decided == len(rows) else "new")
