"""The pages without a browser: what they say, and what they save."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from apps.review import worklist
from medvit.store.rows import CaseFilter, Decision
from pipelines.scanning.live import Candidate, LiveFile, LiveScan
from tests.apps.review.conftest import (
    CT_ID,
    IMAGE_ID,
    LOST_ID,
    MARKUP,
    OTHER_CT_ID,
    REFUSED_ID,
    Practice,
)

APP = Path(worklist.__file__).with_name("app.py")


def open_page(case_id: str = "", *, reader: str = "") -> AppTest:
    page = AppTest.from_file(str(APP), default_timeout=60)
    if case_id:
        page.session_state["goto"] = case_id
    if reader:
        page.session_state["reader_name"] = reader
    return sound(page.run())


def sound(page: AppTest) -> AppTest:
    assert not page.exception, page.exception
    return page


def press(page: AppTest, label: str) -> AppTest:
    (button,) = [button for button in page.button if button.label == label]
    return sound(button.click().run())


def said(page: AppTest) -> str:
    return "\n".join(text.value for text in page.text)


def actions(practice: Practice, case_id: str = CT_ID) -> list[tuple[Any, ...]]:
    rows = practice.store.list_decisions(case_id)
    return [(row.finding_id, row.action, row.label, row.note, row.reader) for row in rows]


def test_a_decision_without_a_reader_is_refused(practice: Practice) -> None:
    page = press(open_page(CT_ID), "Accept")
    assert "Not saved" in said(page)
    assert "name" in said(page)
    assert actions(practice) == []


def test_a_decision_is_saved_and_the_next_finding_chosen(practice: Practice) -> None:
    page = press(open_page(CT_ID, reader=" Dr  Lee "), "Accept")
    first, second, _ = practice.ct_findings
    assert actions(practice) == [(first, "accept", "", "", "Dr Lee")]
    assert page.session_state["chosen"] == (CT_ID, second)
    assert "1 of 3 findings reviewed" in said(page)


def test_the_note_goes_with_its_decision_only(practice: Practice) -> None:
    page = open_page(CT_ID, reader="Dr Lee")
    (note,) = [field for field in page.text_input if field.label == "Note"]
    page = press(sound(note.input("beside a vessel").run()), "Unsure")
    page = press(page, "Reject")
    assert [row[3] for row in actions(practice)] == ["beside a vessel", ""]


def test_relabel_takes_the_chosen_label(practice: Practice) -> None:
    page = open_page(CT_ID, reader="Dr Lee")
    (label,) = [box for box in page.selectbox if box.label == "Label"]
    press(sound(label.select("vessel").run()), "Relabel")
    assert actions(practice)[0][1:3] == ("relabel", "vessel")


def test_undo_takes_back_the_last_decision_and_returns_to_it(practice: Practice) -> None:
    page = press(press(open_page(CT_ID, reader="Dr Lee"), "Accept"), "Undo")
    first = practice.ct_findings[0]
    assert [row[1] for row in actions(practice)] == ["accept", "undo"]
    assert page.session_state["chosen"] == (CT_ID, first)
    assert "0 of 3 findings reviewed" in said(page)


def test_undo_leaves_what_others_decided(practice: Practice) -> None:
    practice.store.decide(Decision(CT_ID, practice.ct_findings[0], "accept", "Dr Other"))
    page = press(open_page(CT_ID, reader="Dr Lee"), "Undo")
    assert "Nothing to undo" in said(page)
    assert len(actions(practice)) == 1


def test_a_faster_reader_is_shown_and_not_overwritten(practice: Practice) -> None:
    page = open_page(CT_ID, reader="Dr Lee")
    practice.store.decide(Decision(CT_ID, practice.ct_findings[0], "reject", "Dr Other"))
    page = press(page, "Accept")
    assert "Not saved" in said(page)
    assert "Dr Other" in said(page)
    assert [row[4] for row in actions(practice)] == ["Dr Other"]


def test_previous_and_next_walk_through_the_findings(practice: Practice) -> None:
    first, second, third = practice.ct_findings
    page = press(press(open_page(CT_ID), "Next"), "Next")
    assert page.session_state["chosen"] == (CT_ID, third)
    page = press(page, "Previous")
    assert page.session_state["chosen"] == (CT_ID, second)
    assert first != second


def test_after_the_last_finding_the_next_case_is_offered(practice: Practice) -> None:
    page = open_page(CT_ID, reader="Dr Lee")
    for _ in practice.ct_findings:
        page = press(page, "Accept")
    assert "Everything here is decided" in said(page)
    page = press(page, "Next case")
    assert page.query_params["case"] == OTHER_CT_ID


def test_a_refused_case_says_why_and_asks_for_nothing(practice: Practice) -> None:
    page = open_page(REFUSED_ID, reader="Dr Lee")
    assert f"Refuse (too_small): {MARKUP}" in said(page)
    assert "Accept" not in [button.label for button in page.button]


def test_text_from_outside_is_never_markdown(practice: Practice) -> None:
    page = open_page(REFUSED_ID)
    for element in page.markdown:
        assert "<b>" not in element.value
    assert not page.error


def test_a_case_that_is_not_there_is_said(practice: Practice) -> None:
    assert "There is no case ct-nobody" in said(open_page("ct-nobody"))


def test_files_that_vanished_are_a_sentence(practice: Practice) -> None:
    for path in practice.ct.files:
        path.unlink()
    page = open_page(CT_ID)
    assert "cannot be read" in said(page)
    assert "Accept" in [button.label for button in page.button]


def test_an_unusable_store_is_a_sentence(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDVIT_STORE", "mysql://nowhere/db")
    page = AppTest.from_file(str(APP), default_timeout=60)
    assert "SQLite" in said(sound(page.run()))


def test_a_running_scan_is_shown_with_its_candidates(practice: Practice) -> None:
    live = LiveFile(practice.workspace.new_run("scan"))
    best, other = Candidate((41, 9, 9), 8.4, 0.62), Candidate((7, 9, 9), 5.0, 0.3)
    scan = LiveScan("1", "ct-09", "ward/**a**", 2, 1200, 0.25, (best, other), 9)
    live.tell(scan)
    page = open_page()
    text = said(page)
    assert "Scanning ward/**a**: case 3 of 1,200, 25% of it done" in text
    assert "0.62 in slice 41, 8 mm; 0.30 in slice 7, 5 mm; and 7 more" in text
    live.tell(replace(scan, source="."), at_once=True)
    assert "Scanning ct-09: case 3" in said(sound(page.run()))
    live.close()
    assert "Scanning" not in said(sound(page.run()))


def test_the_next_case_follows_in_the_order_of_the_worklist(practice: Practice) -> None:
    rows, _ = practice.store.list_cases(CaseFilter(state="new"))
    order = [row.case_id for row in rows]
    assert order == [CT_ID, OTHER_CT_ID, LOST_ID, IMAGE_ID]
    for current, follower in zip(rows, [*rows[1:], rows[0]], strict=True):
        found = worklist.next_case(practice.store, current)
        assert found is not None
        assert found.case_id == follower.case_id
