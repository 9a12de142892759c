"""Decisions of every kind without a browser: what is saved, what is shown next, the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from apps.review import pace, session
from apps.review.access import open_store
from apps.review.alike import neighbours_of, part_of, partners_of
from apps.review.desk import Desk, lay_desk
from apps.review.knowledge import known_of
from apps.review.picture_view import picture_data, take_box
from medvit.data.neighbours import NeighbourIndex, index_file
from medvit.errors import ReadError
from medvit.store.rows import CaseSignal, Decision, DecisionRow
from tests.apps.review.conftest import (
    CT_ID,
    IMAGE_ID,
    LOST_ID,
    MARKUP,
    OTHER_CT_ID,
    REFUSED_ID,
    Practice,
    image_result,
    picture,
)
from tests.apps.review.test_pages import open_page, press, said, sound
from tests.make.models import CLASSES


def last(practice: Practice, case_id: str) -> DecisionRow:
    return practice.store.list_decisions(case_id)[-1]


def test_after_an_image_the_next_case_shows_and_undo_goes_back(practice: Practice) -> None:
    page = press(open_page(LOST_ID, reader="Line 4"), "Accept")
    assert page.query_params["case"] == IMAGE_ID
    assert last(practice, LOST_ID).action == "accept"
    page = press(page, "Undo")
    assert page.query_params["case"] == LOST_ID
    assert [row.action for row in practice.store.list_decisions(LOST_ID)] == ["accept", "undo"]
    assert practice.store.list_decisions(IMAGE_ID) == []


def test_undo_after_a_decision_here_stays_here(practice: Practice) -> None:
    page = press(open_page(LOST_ID, reader="Line 4"), "Accept")
    (switch,) = page.toggle
    page = press(sound(switch.set_value(False).run()), "Reject")
    assert page.query_params["case"] == IMAGE_ID
    press(page, "Undo")
    assert [row.action for row in practice.store.list_decisions(IMAGE_ID)] == ["reject", "undo"]
    assert last(practice, LOST_ID).action == "accept"


def test_a_scan_stays_until_it_is_left(practice: Practice) -> None:
    page = open_page(CT_ID, reader="Dr Lee")
    for _ in practice.ct_findings:
        page = press(page, "Accept")
    assert page.query_params["case"] == CT_ID
    assert "Everything here is decided" in said(page)


def test_skip_passes_on_and_says_nothing_of_the_findings(practice: Practice) -> None:
    page = press(open_page(CT_ID, reader="Dr Lee"), "Skip")
    assert page.query_params["case"] == OTHER_CT_ID
    skipped = last(practice, CT_ID)
    assert (skipped.action, skipped.finding_id, skipped.reader) == ("skip", None, "Dr Lee")
    assert {row.state for row in practice.store.list_findings(CT_ID)} == {"new"}


def test_reason_and_seconds_go_with_a_decision(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("apps.review.pace.time", SimpleNamespace(monotonic=lambda: now[0]))
    page = open_page(CT_ID, reader="Dr Lee")
    now[0] += 4.25
    (reason,) = [box for box in page.selectbox if box.label == "Reason"]
    page = press(sound(reason.select("vessel").run()), "Reject")
    first = last(practice, CT_ID)
    assert (first.reason_code, first.seconds) == ("vessel", 4.25)
    now[0] += 8 * 3600
    press(page, "Accept")
    second = last(practice, CT_ID)
    assert (second.reason_code, second.seconds) == ("", pace.MOST_SECONDS)


def desk_of(practice: Practice, case_id: str) -> Desk:
    case = practice.store.get_case(case_id)
    assert case is not None
    return lay_desk(open_store(), case)


@pytest.fixture
def state(practice: Practice, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the session of a reader, without a page around it."""
    import streamlit as st

    held: dict[str, Any] = {"reader_name": "Line 4"}
    monkeypatch.setattr(st, "session_state", held)
    monkeypatch.setattr(st, "query_params", {})
    return held


def sent(desk: Desk, box: list[int], **more: object) -> dict[str, object]:
    return {"about": desk.about, "target": "", "box": box, "label": CLASSES[1], **more}


def test_a_drawn_box_is_a_finding_and_is_saved_once(
    practice: Practice, state: dict[str, Any]
) -> None:
    desk = desk_of(practice, IMAGE_ID)
    drawn = sent(desk, [1, 2, 30, 40], token="t-1")
    take_box(desk, drawn)
    take_box(desk, drawn)
    (row,) = practice.store.list_decisions(IMAGE_ID)
    assert (row.action, row.label) == ("add", CLASSES[1])
    assert dict(row.geometry or {}) == {"x_min": 1, "y_min": 2, "x_max": 30, "y_max": 40}
    assert session.chosen(IMAGE_ID) == row.finding_id
    assert [data["box"] for data in picture_data(desk_of(practice, IMAGE_ID))["findings"]] == [
        (8, 6, 40, 30),
        (1, 2, 30, 40),
    ]


def test_a_moved_box_stands_and_is_told_in_the_history(
    practice: Practice, state: dict[str, Any]
) -> None:
    desk = desk_of(practice, IMAGE_ID)
    take_box(desk, sent(desk, [9, 6, 41, 30], target=desk.chosen.target, token="t-2"))
    now = desk_of(practice, IMAGE_ID)
    assert now.chosen.state == "adjust"
    assert picture_data(now)["findings"][0]["box"] == (9, 6, 41, 30)
    from apps.review.items import history_of

    (entry,) = history_of(now.decisions, now.chosen.target)
    assert entry["what"] == "adjust to x 9 to 41, y 6 to 30"


@pytest.mark.parametrize("spoil", [{"about": "f-other_0"}, {"box": [3, 3, 3, 9]}, {"label": " "}])
def test_a_box_that_cannot_be_saved_is_said(
    practice: Practice, state: dict[str, Any], spoil: dict[str, object]
) -> None:
    desk = desk_of(practice, IMAGE_ID)
    take_box(desk, {**sent(desk, [1, 2, 30, 40], token="t-3"), **spoil})
    assert practice.store.list_decisions(IMAGE_ID) == []
    assert session.take_refusal().startswith("Not saved")


def test_a_decision_about_a_finding_that_went_meanwhile_is_kept(practice: Practice) -> None:
    finding = practice.store.list_findings(IMAGE_ID)[0].finding.finding_id
    page = open_page(IMAGE_ID, reader="Line 4")
    run = practice.store.start_run("scan", {}, model="m@2", model_sha256="0" * 64)
    practice.store.save_result(run, replace(image_result(practice.image), findings=()))
    press(page, "Accept")
    saved = [(row.finding_id, row.action) for row in practice.store.list_decisions(IMAGE_ID)]
    assert saved == [(finding, "accept")]
    assert said(open_page(IMAGE_ID)).count("no findings") == 1


def test_what_is_known_is_the_signals_the_model_and_the_readers(
    practice: Practice, state: dict[str, Any]
) -> None:
    finding = practice.ct_findings[1]
    reason = f"The model hesitates {MARKUP}"
    practice.store.put_signals([CaseSignal(CT_ID, "uncertainty", 0.789, reason)])
    for reader, action in (("Dr A", "accept"), ("Dr B", "reject")):
        practice.store.decide(Decision(CT_ID, finding, action, reader))  # type: ignore[arg-type]
    session.choose(CT_ID, finding)
    known = known_of(desk_of(practice, CT_ID))
    assert ["Uncertain", "0.79", reason] in known["signals"]
    assert known["said"] == [["Dr A", "accept"], ["Dr B", "reject"]]
    facts = dict(known["facts"])
    assert (facts["Sure of it"], facts["Model"]) == ("22%", "m@1")


def test_an_image_too_large_for_a_model_is_shown_and_judged(
    practice: Practice, state: dict[str, Any]
) -> None:
    run = practice.store.start_run("scan", {}, model="m@1", model_sha256="0" * 64)
    too_large = replace(
        image_result(practice.image), verdict="refuse", reason="too_large", findings=(), label=""
    )
    practice.store.save_result(run, too_large)
    assert desk_of(practice, IMAGE_ID).has_pixels
    assert not desk_of(practice, REFUSED_ID).has_pixels


def add_image(practice: Practice, case_id: str, source: str) -> None:
    run = practice.store.start_run("scan", {}, model="m@1", model_sha256="0" * 64)
    case = picture(practice.image.root, case_id, source)
    practice.store.save_result(run, image_result(case))


def test_pictures_of_the_same_part_stand_side_by_side(practice: Practice) -> None:
    for number, name in enumerate(("gear-7_before", "gear-7_after", "gear-71_after", "gear-7_03")):
        add_image(practice, f"im-9{number}", f"line/{name}.png")
    case = practice.store.get_case("im-90")
    assert case is not None
    assert [row.source for row in partners_of(practice.store, case)] == ["line/gear-7_after.png"]
    steel = practice.store.get_case(IMAGE_ID)
    assert steel is not None
    assert partners_of(practice.store, steel) == []
    assert part_of("a/20260301120000.png") == ("a", "20260301120000")


def index_of(practice: Practice, sha256: str = "a" * 64) -> Path:
    folder = practice.workspace.neighbours
    folder.mkdir(parents=True, exist_ok=True)
    return index_file(folder, sha256)


def test_labelled_neighbours_come_nearest_first(practice: Practice) -> None:
    case = practice.store.get_case(IMAGE_ID)
    assert case is not None
    assert neighbours_of(practice.store, case) == []
    add_image(practice, "im-80", "line/a.png")
    add_image(practice, "im-81", "line/b.png")
    for case_id in ("im-80", LOST_ID):
        finding = practice.store.list_findings(case_id)[0].finding.finding_id
        practice.store.decide(Decision(case_id, finding, "accept", "Dr A"))
    rows = np.array([[1, 0], [3, 4], [1, 0.1], [4, 3]], np.float32)
    ids = [IMAGE_ID, LOST_ID, "im-81", "im-80"]
    NeighbourIndex.of(ids, rows, "m@1").save(index_of(practice))
    found = neighbours_of(practice.store, case)
    assert [(row.case_id, share) for row, share in found] == [("im-80", 0.8), (LOST_ID, 0.6)]


def test_a_broken_index_of_neighbours_shows_none(
    practice: Practice, caplog: pytest.LogCaptureFixture
) -> None:
    path = index_of(practice)
    path.write_bytes(b"PK nothing")
    case = practice.store.get_case(IMAGE_ID)
    assert case is not None
    assert neighbours_of(practice.store, case) == []
    assert path.name in caplog.text
    with pytest.raises(ReadError, match="no index of neighbours"):
        NeighbourIndex.load(path)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: NeighbourIndex.of(["a"], np.ones((2, 3), np.float32), "m"), "1 cases need"),
        (lambda: NeighbourIndex.of(["a", "a"], np.ones((2, 3), np.float32), "m"), "1 of 2 case"),
        (lambda: NeighbourIndex.of(["a"], np.zeros((1, 3), np.float32), "m"), "not zero"),
    ],
)
def test_an_index_that_cannot_be_is_refused(build: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build()


def test_the_first_page_sets_the_theme_before_anything_is_drawn() -> None:
    from apps.review.first_page import first_page
    from apps.review.theme import COLOURS, looks

    head = first_page().split("<head>")[1]
    assert head.startswith("<script>")
    assert head.index("medvit.theme") < head.index("<link")
    assert set(COLOURS["dark"]) == set(COLOURS["light"])
    assert looks()["theme.light.backgroundColor"] == COLOURS["light"]["backgroundColor"]
