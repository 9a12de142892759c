"""Several readers at the pages: queues, claims, names, roles, and what goes wrong between them."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from streamlit.testing.v1 import AppTest

from apps.review import access
from apps.review.names import shown_message, shown_name
from medvit.store import engine
from medvit.store.roles import Actor
from medvit.store.rows import CaseRow, CaseSignal, Decision
from medvit.store.store import Store
from tests.apps.review.conftest import CT_ID, IMAGE_ID, LOST_ID, OTHER_CT_ID, Practice, fill
from tests.apps.review.test_pages import APP, actions, open_page, press, said, sound
from tests.make.postgres import own_postgres


def test_start_reading_opens_what_nobody_has(practice: Practice) -> None:
    practice.store.claim(CT_ID, "Dr Wu")
    page = press(open_page(reader="Dr Lee"), "Start reading")
    assert page.query_params["case"] == OTHER_CT_ID
    assert practice.store.claims_of(OTHER_CT_ID)[OTHER_CT_ID].reader == "Dr Lee"


def test_next_follows_the_queue_and_gives_the_case_back(practice: Practice) -> None:
    signals = [(IMAGE_ID, 0.5), (LOST_ID, 0.9), (OTHER_CT_ID, 0.7)]
    practice.store.put_signals(CaseSignal(name, "priority", v, "Now.") for name, v in signals)
    practice.store.claim(OTHER_CT_ID, "Dr Wu")
    page = AppTest.from_file(str(APP), default_timeout=60)
    page.session_state["filter_queue"] = "priority"
    page.session_state["reader_name"] = "Dr Lee"
    page.session_state["goto"] = LOST_ID
    page = press(sound(page.run()), "Next case")
    assert page.query_params["case"] == IMAGE_ID
    assert set(practice.store.claims_of(LOST_ID, IMAGE_ID)) == {IMAGE_ID}


def test_who_has_the_case_is_said_and_can_be_asked_to_give_way(practice: Practice) -> None:
    practice.store.claim(CT_ID, "Dr Wu")
    page = open_page(CT_ID, reader="Dr Lee")
    assert "Dr Wu has this case on the desk, for 15 more minutes" in said(page)
    page = press(page, "Take it over")
    assert "Dr Wu has this case" not in said(page)
    claim = practice.store.claims_of(CT_ID)[CT_ID]
    assert (claim.reader, claim.taken_from) == ("Dr Lee", "Dr Wu")


def test_a_session_left_open_over_night_saves_or_shows_what_happened(practice: Practice) -> None:
    page = open_page(CT_ID, reader="Dr Lee")
    first, second, _ = practice.ct_findings
    _let_claims_run_out(practice)
    assert practice.store.claim(CT_ID, "Dr Wu").reader == "Dr Wu"
    practice.store.decide(Decision(CT_ID, first, "reject", "Dr Wu"))
    page = press(page, "Accept")
    assert "Not saved, and the page now shows what stands" in said(page)
    assert "by 'Dr Wu' (reject)" in said(page)
    press(page, "Unsure")
    assert [row[:2] + row[4:] for row in actions(practice)] == [
        (first, "reject", "Dr Wu"),
        (first, "unsure", "Dr Lee"),
    ]
    assert second != first


def test_two_tabs_of_one_reader_hold_the_case_together(practice: Practice) -> None:
    one, other = (open_page(CT_ID, reader="Dr Lee") for _ in range(2))
    assert "has this case on the desk" not in said(one) + said(other)
    press(one, "Accept")
    said_then = said(press(other, "Accept"))
    assert "Not saved" not in said_then
    assert [row[1] for row in actions(practice)] == ["accept"]


def test_a_finding_that_was_taken_back_meanwhile_is_a_sentence(practice: Practice) -> None:
    box = {"x_min": 1, "y_min": 1, "x_max": 9, "y_max": 9}
    added = practice.store.decide(Decision(IMAGE_ID, None, "add", "Dr Wu", "pit", geometry=box))
    page = open_page(IMAGE_ID, reader="Dr Lee")
    page = press(page, "Next")
    practice.store.decide(Decision(IMAGE_ID, added.finding_id, "undo", "Dr Wu"))
    page = press(page, "Accept")
    assert "Not saved" in said(page)
    assert [row[1] for row in actions(practice, IMAGE_ID)] == ["add", "undo"]


def test_a_store_that_somebody_else_holds_is_a_sentence(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.05)
    access._opened.cache_clear()
    page = open_page(CT_ID, reader="Dr Lee")
    with sqlite3.connect(practice.workspace.folder / "store.db") as holder:
        holder.execute("BEGIN IMMEDIATE")
        page = press(page, "Accept")
        assert "Not saved" in said(page)
        assert "database is locked" in said(page)
        holder.rollback()
    page = press(page, "Accept")
    assert [row[1] for row in actions(practice)] == ["accept"]


def test_a_store_that_is_read_only_can_be_looked_at(practice: Practice) -> None:
    def forbid(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA query_only = ON")

    event.listen(access.open_store()._reading, "checkout", forbid)
    page = open_page(CT_ID, reader="Dr Lee")
    assert "0 of 3 findings reviewed" in said(page)
    page = press(page, "Accept")
    assert "Not saved" in said(page)
    assert "attempt to write a readonly database" in said(page)
    assert actions(practice) == []


@pytest.mark.database
@pytest.mark.slow
def test_a_server_that_restarts_under_the_app_costs_no_decision(
    practice: Practice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with own_postgres() as server:
        monkeypatch.setenv("MEDVIT_STORE", server.url)
        with Store.open(server.url) as store:
            fill(practice.workspace, store, tmp_path / "again")
            page = press(open_page(CT_ID, reader="Dr Lee"), "Accept")
            server.stop()
            page = sound(page.run())
            assert "Check the disk, the permissions and the server" in said(page)
            server.start()
            page = press(sound(page.run()), "Reject")
            server.stop()
            starter = threading.Timer(0.5, server.start)
            starter.start()
            press(page, "Unsure")
            starter.join()
            made = [row.action for row in store.list_decisions(CT_ID)]
        access._opened.cache_clear()
    assert made == ["accept", "reject", "unsure"]


def test_a_name_of_an_account_is_refused_where_nobody_signs_in(practice: Practice) -> None:
    practice.store.sign_in("ann@x", subject="https://idp 1")
    page = sound(open_page(CT_ID, reader="ann@x").run())
    assert "'ann@x' belongs to an account of the sign-in provider" in said(page)
    press(page, "Accept")
    assert actions(practice) == []


def test_names_of_scans_are_shown_to_whom_the_role_allows(practice: Practice) -> None:
    store = practice.store
    store.set_role(store.actor("Boss"), "Boss", "admin")
    assert shown_name(_row(practice), store.actor("Ann")) == "CT 01"
    assert shown_message(_row(practice, message="Muster: 3 slices"), store.actor("Ann")) == (
        "ok (named only to leads)"
    )
    store.set_role(store.actor("Boss"), "Ann", "lead")
    assert shown_name(_row(practice), store.actor("Ann")) == "chest"
    image = practice.store.get_case(IMAGE_ID)
    assert image is not None
    assert shown_name(image, Actor("Cem")) == "steel/plate.png"


def _row(practice: Practice, **changes: Any) -> CaseRow:
    row = practice.store.get_case(CT_ID)
    assert row is not None
    return replace(row, **changes)


def _let_claims_run_out(practice: Practice) -> None:
    past = (datetime.now(UTC) - timedelta(hours=9)).strftime("%Y-%m-%d %H:%M:%S.%f")
    with sqlite3.connect(practice.workspace.folder / "store.db") as database:
        database.execute("UPDATE claims SET expires_at = ?", [past])
