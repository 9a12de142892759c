"""Signing in by a real provider, in a real browser; roles that the store enforces."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from apps.review.answering import BASE, TICKET_HEADER
from medvit.store.store import Store
from medvit.workspace import Workspace
from tests.apps.review.conftest import CT_ID, App, fill
from tests.make.oidc import auth_file, serve_provider

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TICKET = "document.querySelector('.mv-ct').viewer.scan.shelf.ticket"
ACCOUNTS = {
    "Ann": {"sub": "1", "email": "ann@clinic.example", "groups": ["readers"]},
    "Bea": {"sub": "2", "email": "bea@clinic.example", "groups": ["readers", "heads"]},
    "Eve": {"sub": "3", "email": "ann@clinic.example", "groups": ["heads"]},
}
ROLES = """
[medvit]
role_claim = "groups"
[medvit.roles]
lead = ["heads"]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace(tmp_path_factory.mktemp("workspace"))
    with Store.open(made.store_url) as store:
        fill(made, store, tmp_path_factory.mktemp("source"))
    return made


@pytest.fixture(scope="module")
def app(place: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("auth")
    with serve_provider(ACCOUNTS) as provider:
        file = folder / "auth.toml"
        file.write_text(auth_file(provider, f"http://127.0.0.1:{port}", ROLES), encoding="utf-8")
        started = App(place, port, folder / "log", auth=file).wait()
        yield started
        started.kill()


def sign_in(page: Page, app: App, account: str, *, at: str = "") -> None:
    page.goto(app.url + at)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name=account).click()


def ask_for_pixels(page: Page, app: App, ticket: str) -> int:
    headers = {TICKET_HEADER: ticket}
    return page.request.get(f"{app.url}{BASE}/{CT_ID}/geometry", headers=headers).status


def sign_out(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in").wait_for()


def test_readers_come_in_by_their_accounts_with_their_roles(
    page: Page, app: App, place: Workspace
) -> None:
    page.goto(f"{app.url}/review?case={CT_ID}")
    page.get_by_role("button", name="Sign in").wait_for()
    assert page.get_by_role("button", name="Accept").count() == 0
    sign_in(page, app, "Ann")
    page.get_by_text("ann@clinic.example (reader)").wait_for()
    row = page.locator(f".mv-line[data-case={CT_ID}]")
    assert row.get_by_role("link").inner_text() == "CT 01"
    row.get_by_role("link").click()
    page.locator(".mv-card", has_text="Finding 1:").wait_for()
    assert page.get_by_text("chest", exact=True).count() == 0
    page.keyboard.press("x")
    page.locator(".mv-card", has_text="Finding 2:").wait_for()
    shown = page.evaluate(TICKET)
    assert ask_for_pixels(page, app, shown) == 200
    sign_out(page)
    assert ask_for_pixels(page, app, shown) == 403
    sign_in(page, app, "Bea")
    page.get_by_text("bea@clinic.example (lead)").wait_for()
    assert row.get_by_role("link").inner_text() == "chest"
    row.get_by_role("link").click()
    page.locator(".mv-row").first.click()
    page.locator(".mv-saved", has_text="saved by ann@clinic.example").wait_for()
    page.keyboard.press("a")
    page.locator(".mv-row .mv-badge", has_text="accepted").wait_for()
    page.get_by_role("link", name="Readers").click()
    page.locator(".mv-plain", has_text="sign in").wait_for()
    assert page.get_by_role("button", name="Give role").count() == 0
    sign_out(page)
    sign_in(page, app, "Eve")
    page.get_by_text("the name 'ann@clinic.example' cannot be used").wait_for()
    with Store.open(place.store_url) as store:
        made = store.list_decisions(CT_ID)
        log = [(row.deed, row.reader) for row in reversed(store.list_audit())]
    assert [(row.reader, row.action, row.role, row.settles) for row in made] == [
        ("ann@clinic.example", "reject", "reader", False),
        ("bea@clinic.example", "accept", "lead", True),
    ]
    assert log == [
        ("sign_in", "ann@clinic.example"),
        ("reject", "ann@clinic.example"),
        ("sign_in", "bea@clinic.example"),
        ("accept", "bea@clinic.example"),
    ]
