"""The image viewer as an inspector uses it: a real app, a real browser, keys and pointer."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from medvit.io.case import Case
from medvit.store.store import Store
from medvit.workspace import Workspace
from tests.apps.review.conftest import CT_ID, IMAGE_ID, LOST_ID, WAIT_MS, App, image_result
from tests.apps.review.test_browser import open_case, sign_in, wait_for_card
from tests.make.models import CLASSES
from tests.make.raster import write_image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LONG_ID = "im-long"
WIDTH, HEIGHT = 20_000, 1_500
DRAWN = ".mv-image[data-shown]:not([data-shown=''])"
STATE = "() => ({ ...document.querySelector('.mv-image').dataset })"
SERIOUS = ("serious", "critical")
AT_SCALE = "scale => Number(document.querySelector('.mv-image').dataset.scale) === scale"
OTHER_CARD = "about => document.querySelector('.mv-card').dataset.about !== about"
SETTLED = "!document.querySelector('[data-stale=true], [data-testid=stSkeleton]')"
UNFOLD = "document.querySelectorAll('.mv-known').forEach((each) => { each.open = true; })"


@pytest.fixture(scope="module")
def long_image(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Add an image of 20,000 pixels whose grey tells the column; return its case id."""
    root = tmp_path_factory.mktemp("long")
    columns = (np.arange(WIDTH) % 200 + 20).astype(np.uint8)
    path = write_image(root / "rail.png", np.broadcast_to(columns, (HEIGHT, WIDTH)).copy())
    with Store.open(workspace.store_url) as store:
        run = store.start_run("scan", {}, model="m@1", model_sha256="0" * 64)
        store.save_result(run, image_result(Case(LONG_ID, "image", path.name, root, (path,))))
    return LONG_ID


def rows(workspace: Workspace, case_id: str) -> list[dict[str, Any]]:
    """Return what another program finds in the database file, oldest first."""
    with sqlite3.connect(workspace.folder / "store.db") as database:
        database.row_factory = sqlite3.Row
        query = "SELECT * FROM decisions WHERE case_id = ? ORDER BY id"
        return [dict(row) for row in database.execute(query, [case_id])]


def box_of(row: dict[str, Any]) -> list[int]:
    geometry = json.loads(row["geometry"])
    return [geometry[name] for name in ("x_min", "y_min", "x_max", "y_max")]


def shown_box(page: Page) -> list[int]:
    page.wait_for_function("document.querySelector('.mv-image').dataset.box")
    return [int(part) for part in page.evaluate(STATE)["box"].split(",")]


def tiles(asked: list[str]) -> int:
    return sum("/image/" in url for url in asked)


def test_boxes_are_drawn_moved_and_undone_by_keys_and_by_pointer(
    page: Page, app: App, workspace: Workspace
) -> None:
    open_case(page, app, IMAGE_ID)
    page.wait_for_selector(DRAWN)
    sign_in(page, "Line 4")
    page.keyboard.press("d")
    page.keyboard.press("Enter")
    x0, y0, x1, y1 = shown_box(page)
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "Shift+ArrowDown"):
        page.keyboard.press(key)
    page.keyboard.press("2")
    wait_for_card(page, f"Finding 2: {CLASSES[1]}")
    added = rows(workspace, IMAGE_ID)[-1]
    assert (added["action"], added["label"], added["reader"]) == ("add", CLASSES[1], "Line 4")
    assert box_of(added) == [x0 + 2, y0 - 1, x1 + 2, y1]
    page.keyboard.press("e")
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    stage = page.locator(".mv-image-stage").bounding_box()
    assert stage is not None
    scale = float(page.evaluate(STATE)["scale"])
    left = stage["x"] + stage["width"] / 2 - 32 * scale
    top = stage["y"] + stage["height"] / 2 - 24 * scale
    page.mouse.move(left + (x1 + 2) * scale, top + y1 * scale)
    page.mouse.down()
    page.mouse.move(left + (x1 + 5) * scale, top + (y1 + 4) * scale, steps=3)
    page.mouse.up()
    page.keyboard.press("Enter")
    page.locator(".mv-card", has_text="moved").wait_for()
    moved = rows(workspace, IMAGE_ID)[-1]
    assert (moved["action"], box_of(moved)) == ("adjust", [x0 + 2, y0 - 1, x1 + 5, y1 + 4])
    page.keyboard.press("z")
    page.locator(".mv-history", has_text="undo by Line 4").wait_for()
    assert [row["action"] for row in rows(workspace, IMAGE_ID)] == ["add", "adjust", "undo"]
    page.locator(".mv-fact", has_text=f"x {x0 + 2} to {x1 + 2}, y {y0 - 1} to {y1}").wait_for()


def test_a_reason_by_keys_the_next_case_and_the_way_back(
    page: Page, app: App, workspace: Workspace
) -> None:
    open_case(page, app, LOST_ID)
    page.get_by_text("This image cannot be shown").wait_for()
    sign_in(page, "Line 5")
    page.keyboard.press("c")
    page.keyboard.type("light")
    page.get_by_role("option", name="lighting").wait_for()
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement === document.body")
    about = page.locator(".mv-card").get_attribute("data-about")
    page.keyboard.press("x")
    page.wait_for_function(OTHER_CARD, arg=about)
    (row,) = rows(workspace, LOST_ID)
    assert (row["action"], row["reason_code"]) == ("reject", "lighting")
    assert 0 < row["seconds"] < 120
    page.wait_for_function("id => !location.search.includes(id)", arg=LOST_ID)
    page.keyboard.press("z")  # at once: the buttons of the last case may still be there
    page.wait_for_function("id => location.search.includes(id)", arg=LOST_ID)
    page.locator(".mv-history", has_text="undo by Line 5").wait_for()
    assert [row["action"] for row in rows(workspace, LOST_ID)] == ["reject", "undo"]


def test_a_very_long_image_is_seen_whole_and_to_the_pixel(
    page: Page, app: App, long_image: str
) -> None:
    asked: list[str] = []
    page.on("response", lambda answer: asked.append(answer.url))
    open_case(page, app, long_image)
    page.wait_for_selector(DRAWN)
    assert tiles(asked) <= 8
    fit = float(page.evaluate(STATE)["scale"])
    assert fit * WIDTH <= 1400
    page.locator(".mv-image-stage").hover()
    for _ in range(60):
        page.mouse.wheel(0, -100)
    page.wait_for_function(AT_SCALE, arg=40)
    page.wait_for_selector(DRAWN)
    assert tiles(asked) < 120
    stage = page.locator(".mv-image-stage").bounding_box()
    assert stage is not None
    page.mouse.move(stage["x"] + 301, stage["y"] + 203)
    under = page.locator(".mv-under").inner_text().split()
    grey = page.evaluate(
        "() => [...document.querySelector('.mv-image canvas').getContext('2d')"
        ".getImageData(301, 203, 1, 1).data]"
    )
    assert grey[:3] == [int(under[1]) % 200 + 20] * 3
    page.keyboard.press("0")
    page.wait_for_function(AT_SCALE, arg=fit)


def test_the_light_theme_is_kept_and_there_from_the_first_frame(page: Page, app: App) -> None:
    page.goto(app.url)
    page.locator(".mv-line").first.wait_for()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.get_by_role("button", name="Switch between light and dark").click()
    page.wait_for_function("document.documentElement.dataset.theme === 'light'")
    open_case(page, app, IMAGE_ID)
    page.wait_for_selector(DRAWN)
    shade = "getComputedStyle(document.querySelector('.stApp')).backgroundColor"
    assert page.evaluate(shade) == "rgb(247, 248, 249)"


def test_all_keys_are_listed_and_the_list_is_left_by_escape(page: Page, app: App) -> None:
    open_case(page, app, IMAGE_ID)
    page.wait_for_selector(DRAWN)
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    dialog.wait_for()
    shown = dialog.inner_text()
    assert "draw a box" in shown
    assert "slab" not in shown
    page.keyboard.press("a")
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    page.get_by_text("Not saved").wait_for(state="hidden")


@pytest.fixture(params=["dark", "light"])
def themed(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1024, "height": 768})
    context.set_default_timeout(WAIT_MS)
    tab = context.new_page()
    tab.add_init_script(f"localStorage.setItem('medvit.theme', '{request.param}')")
    tab.add_init_script("localStorage.setItem('medvit.reader', 'Dr Lee')")
    yield tab
    context.close()


def test_no_page_has_a_serious_fault_of_accessibility(themed: Page, app: App) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    faults = []
    for path, ready in (
        ("", ".mv-line"),
        ("review", "[class*=st-key-notice]"),
        (f"review?case={IMAGE_ID}", DRAWN),
        (f"review?case={CT_ID}", ".mv-plane[data-slice='9']"),
        ("readers", ".mv-worklist, [data-testid=stText]"),
        ("labels", ".mv-plain"),
        ("models", ".mv-plain"),
        ("runs", ".mv-plain"),
    ):
        themed.goto(f"{app.url}/{path}")
        themed.wait_for_selector(ready)
        themed.wait_for_function(SETTLED)
        themed.evaluate(UNFOLD)
        found = axe.run(themed).response["violations"]
        faults += [
            (path, fault["id"], [node["html"][:120] for node in fault["nodes"]])
            for fault in found
            if fault["impact"] in SERIOUS
        ]
        wide = themed.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{path} is {wide} px wider than a tablet"
    assert faults == []
