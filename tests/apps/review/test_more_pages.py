"""Runs, models and labels without a browser: what they say, start and refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from apps.review import runs_page
from medvit.store.roles import Actor
from pipelines.job_roots import allow_root, job_roots
from tests.apps.review.conftest import Practice
from tests.apps.review.test_pages import press, said, sound


def page_of(module: str, show: str, reader: str) -> AppTest:
    """Return a page by itself, with the message that the frame would show."""
    script = (
        "import streamlit as st\n"
        "from apps.review import session\n"
        f"from {module} import {show}\n"
        "st.text(session.take_refusal())\n"
        f"{show}()\n"
    )
    page = AppTest.from_string(script, default_timeout=60)
    page.session_state["reader_name"] = reader
    return sound(page.run())


def runs(reader: str = "Lee") -> AppTest:
    return page_of("apps.review.runs_page", "show_runs", reader)


def typed(page: AppTest, label: str, text: str) -> AppTest:
    (field,) = [field for field in page.text_input if field.label == label]
    field.input(text)
    return page


def make_reader(practice: Practice, name: str) -> None:
    practice.store.set_role(Actor("Ada", "admin"), "Ada", "admin")
    practice.store.set_role(Actor("Ada", "admin"), name, "reader")


def test_a_scan_is_started_below_an_allowed_folder_and_written_into_the_log(
    practice: Practice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[tuple[list[str], str]] = []
    monkeypatch.setattr(runs_page, "start_job", lambda _, words, by: started.append((words, by)))
    page = typed(runs(), "Folder", str(tmp_path / "source"))
    page = press(page, "Allow")
    assert job_roots(practice.workspace) == [tmp_path / "source"]
    page = press(typed(page, "Folder or file", "/etc"), "Start scan")
    assert "Not started: jobs read only below the 1 folders" in said(page)
    assert started == []
    press(typed(page, "Folder or file", str(tmp_path / "source" / "chest")), "Start scan")
    words = ["scan", str(tmp_path / "source" / "chest"), "--out", "{job}/out", "--json"]
    assert started == [([*words, "--task", "auto", "--effort", "balanced"], "Lee")]
    newest = practice.store.list_audit(limit=1)[0]
    assert (newest.reader, newest.deed, newest.subject) == ("Lee", "start_job", "scan")


def test_a_plain_reader_looks_on(practice: Practice, tmp_path: Path) -> None:
    make_reader(practice, "Lee")
    allow_root(practice.workspace, tmp_path / "source", by="Ada")
    page = runs()
    assert "needs the role lead" in said(page)
    assert [button.label for button in page.button] == []


def test_a_retraining_is_a_list_of_words(practice: Practice) -> None:
    assert runs_page.retrain_words(task="defect", strategy="auto", by="--promote")[-1] == (
        "--by=--promote"
    )
    page = runs()
    assert "Start retraining" in [button.label for button in page.button]
    assert practice.store.list_audit() == []
