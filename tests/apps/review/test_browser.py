"""The app as people use it: a real process, a real browser, a real database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medvit.workspace import Workspace
from tests.apps.review.conftest import (
    CT_ID,
    IMAGE_ID,
    LOST_ID,
    MARKUP,
    OTHER_CT_ID,
    REFUSED_ID,
    App,
)
from tests.make.models import CLASSES

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

AXIAL, CORONAL, SAGITTAL = (
    f".mv-plane[data-plane={name}]" for name in ("axial", "coronal", "sagittal")
)
PICTURE = "plane => document.querySelector(plane + ' canvas').toDataURL()"
SHOWN = "([plane, slice]) => document.querySelector(plane)?.dataset.slice === String(slice)"


def decisions(workspace: Workspace, case_id: str) -> list[tuple[Any, ...]]:
    """Return what another program finds in the database file."""
    with sqlite3.connect(workspace.folder / "store.db") as database:
        rows = database.execute(
            "SELECT action, label, note, reader FROM decisions WHERE case_id = ? ORDER BY id",
            [case_id],
        )
        return rows.fetchall()


def open_case(page: Page, app: App, case_id: str) -> None:
    page.goto(f"{app.url}/review?case={case_id}")


def wait_for_slice(page: Page, plane: str, number: int) -> str:
    """Wait until a plane shows a slice, and return its picture."""
    page.wait_for_function(SHOWN, arg=[plane, number])
    return str(page.evaluate(PICTURE, plane))


def sign_in(page: Page, name: str) -> None:
    reader = page.get_by_role("textbox", name="Reader", exact=True)
    reader.fill(name)
    reader.press("Enter")
    page.wait_for_function(
        "name => document.querySelector('.mv-desk')?.dataset.reader === name", arg=name
    )


def choose_finding(page: Page, number: int) -> None:
    page.locator(".mv-row").nth(number - 1).click()
    wait_for_card(page, f"Finding {number}:")


def wait_for_card(page: Page, text: str) -> None:
    page.locator(".mv-card", has_text=text).wait_for()


def test_slices_move_by_wheel_slider_click_and_keys(page: Page, app: App) -> None:
    open_case(page, app, CT_ID)
    at_finding = wait_for_slice(page, AXIAL, 9)
    page.locator(f"{AXIAL} .mv-stage").hover()
    page.mouse.wheel(0, 100)
    assert wait_for_slice(page, AXIAL, 10) != at_finding
    page.locator(f"{AXIAL} input").fill("3")
    wait_for_slice(page, AXIAL, 3)
    page.keyboard.press("Escape")
    stage = page.locator(f"{CORONAL} .mv-stage").bounding_box()
    assert stage is not None
    page.mouse.click(stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2)
    page.wait_for_function(
        "plane => document.querySelector(plane).dataset.slice !== '3'", arg=AXIAL
    )
    wait_for_slice(page, SAGITTAL, 25)
    before = page.evaluate(PICTURE, AXIAL)
    page.keyboard.press("3")
    page.wait_for_selector(".mv-ct[data-window='2500/480']")
    assert page.evaluate(PICTURE, AXIAL) != before
    assert page.locator(f"{AXIAL} .mv-letter").all_inner_texts() == ["A", "P", "R", "L"]


def test_a_rejection_and_a_new_label_are_found_again(
    page: Page, app: App, workspace: Workspace
) -> None:
    open_case(page, app, CT_ID)
    wait_for_card(page, "Finding 1:")
    page.get_by_role("button", name="Reject", exact=True).click()
    page.get_by_text("Not saved: a decision needs the name of its reader.").wait_for()
    assert decisions(workspace, CT_ID) == []
    sign_in(page, "Dr Lee")
    page.get_by_role("button", name="Reject", exact=True).click()
    wait_for_card(page, "Finding 2:")
    assert decisions(workspace, CT_ID) == [("reject", "", "", "Dr Lee")]
    page.get_by_role("combobox", name="Label").click()
    page.get_by_role("option", name="vessel").click()
    page.get_by_role("button", name="Relabel", exact=True).click()
    wait_for_card(page, "Finding 3:")
    page.reload()
    wait_for_card(page, "Finding 3:")
    badges = page.locator(".mv-row .mv-badge").all_inner_texts()
    assert badges == ["rejected", "relabelled", "new"]
    choose_finding(page, 2)
    page.locator(".mv-saved", has_text="saved by Dr Lee at").wait_for()
    page.locator(".mv-history", has_text="relabel to vessel by Dr Lee").wait_for()
    page.wait_for_function("document.querySelector('.mv-desk')?.dataset.reader === 'Dr Lee'")
    assert decisions(workspace, CT_ID)[1:] == [("relabel", "vessel", "", "Dr Lee")]


def test_a_decision_outlives_the_sudden_end_of_the_app(
    page: Page, start: Callable[[], App], workspace: Workspace
) -> None:
    doomed = start()
    open_case(page, doomed, OTHER_CT_ID)
    sign_in(page, "Dr Wu")
    wait_for_card(page, "Finding 1:")
    page.keyboard.press("a")
    wait_for_card(page, "Finding 2:")
    doomed.kill()
    assert decisions(workspace, OTHER_CT_ID) == [("accept", "", "", "Dr Wu")]


def test_an_image_is_judged_by_keys_but_not_while_typing(
    page: Page, app: App, workspace: Workspace
) -> None:
    open_case(page, app, IMAGE_ID)
    page.wait_for_selector(".mv-image[data-shown=heat]")
    marks = "document.querySelectorAll('.mv-image canvas')[1].toDataURL()"
    plain = page.evaluate(marks)
    page.get_by_label("Heat map opacity").fill("0")
    page.wait_for_function(f"plain => {marks} !== plain", arg=plain)
    sign_in(page, "Line 4")
    note = page.get_by_label("Note")
    note.type("axu2")
    assert note.input_value() == "axu2"
    note.press("Enter")
    page.wait_for_function("document.activeElement === document.body")
    page.keyboard.press("2")
    page.wait_for_function("id => !location.search.includes(id)", arg=IMAGE_ID)
    assert decisions(workspace, IMAGE_ID) == [("relabel", CLASSES[1], "axu2", "Line 4")]
    page.go_back()
    page.locator(".mv-saved", has_text="saved by Line 4").wait_for()
    page.keyboard.press("z")
    page.locator(".mv-saved", has_text="not decided yet").wait_for()
    assert [row[0] for row in decisions(workspace, IMAGE_ID)] == ["relabel", "undo"]


def test_the_worklist_opens_a_case_and_shows_text_as_text(page: Page, app: App) -> None:
    page.goto(app.url)
    refused = page.locator(f".mv-line[data-case={REFUSED_ID}]")
    refused.wait_for()
    assert MARKUP in refused.inner_text()
    assert page.locator(".mv-table b, .mv-table img").count() == 0
    page.get_by_label("Search").fill("chest-2")
    page.get_by_label("Search").press("Enter")
    refused.wait_for(state="detached")
    page.get_by_role("link", name="chest-2").click()
    page.wait_for_url(f"**/review?case={OTHER_CT_ID}")
    choose_finding(page, 1)
    wait_for_slice(page, CORONAL, 31)


@pytest.mark.parametrize(
    ("case_id", "sentence"),
    [(REFUSED_ID, "at least 16 x 16 are needed"), (LOST_ID, "This image cannot be shown")],
)
def test_what_cannot_be_shown_is_a_sentence(
    page: Page, app: App, case_id: str, sentence: str
) -> None:
    open_case(page, app, case_id)
    shown = page.get_by_text(sentence)
    shown.wait_for()
    assert shown.is_visible()


def test_the_server_is_bound_to_this_machine(app: App) -> None:
    assert Path(app.url).name.startswith("127.0.0.1:")
