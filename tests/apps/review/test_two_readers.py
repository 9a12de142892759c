"""Two readers in two browsers: they know of each other, and nothing is overwritten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from medvit.store.store import Store
from medvit.workspace import Workspace
from tests.apps.review.conftest import OTHER_CT_ID, WAIT_MS, App
from tests.apps.review.test_browser import sign_in, wait_for_card

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_two_readers_meet_at_a_case_by_the_queue(
    page: Page, browser: Browser, app: App, workspace: Workspace
) -> None:
    other = browser.new_context(viewport={"width": 1024, "height": 768})
    other.set_default_timeout(WAIT_MS)
    second = other.new_page()
    page.goto(f"{app.url}/review?case={OTHER_CT_ID}")
    sign_in(page, "Dr Wu")
    wait_for_card(page, "Finding 1:")
    second.goto(app.url)
    sign_in(second, "Dr Lee")
    second.get_by_role("radio").filter(has_text="Uncertain").click()
    held = second.locator(f".mv-line[data-case={OTHER_CT_ID}]")
    held.get_by_text("on the desk of Dr Wu").wait_for()
    held.get_by_text("The model gives 0.61 to 'nodule'").wait_for()
    held.get_by_role("link").click()
    second.get_by_text("Dr Wu has this case on the desk").wait_for()
    wait_for_card(second, "Finding 1:")
    page.keyboard.press("a")
    wait_for_card(page, "Finding 2:")
    second.keyboard.press("x")
    second.get_by_text("Not saved, and the page now shows what stands").wait_for()
    second.get_by_text("by 'Dr Wu' (accept)").wait_for()
    second.locator(".mv-saved", has_text="saved by Dr Wu").wait_for()
    second.get_by_role("button", name="Take it over").click()
    second.get_by_text("Dr Wu has this case on the desk").wait_for(state="detached")
    second.keyboard.press("x")
    wait_for_card(second, "Finding 2:")
    second.get_by_role("link", name="Readers").click()
    second.locator(".mv-plain", has_text="Dr Lee and Dr Wu").wait_for()
    second.locator(".mv-plain", has_text="take over").wait_for()
    other.close()
    with Store.open(workspace.store_url) as store:
        made = [(row.reader, row.action) for row in store.list_decisions(OTHER_CT_ID)]
        assert next(row.name for row in store.signals_of(OTHER_CT_ID)) == "disagreement"
    assert made == [("Dr Wu", "accept"), ("Dr Lee", "reject")]
