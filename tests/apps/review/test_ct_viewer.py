"""The CT viewer in a real browser: what hands do, what is measured, what a scan may bring."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from medvit.geometry import affine_from, index_to_lps, lps_to_index
from medvit.io.case import Case
from medvit.io.readers import open_volume
from medvit.store.store import Store
from medvit.workspace import Workspace
from tests.apps.review.conftest import CT_ID, OTHER_CT_ID, WAIT_MS, App, chest, ct_result
from tests.make.dicom import CtSeries, write_series
from tests.make.nifti import write_nifti

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

VIEW = "document.querySelector('.mv-ct').viewer"
AXIAL, CORONAL, SAGITTAL = 0, 1, 2
NAMES = ("axial", "coronal", "sagittal")
MARKUP = "<img src=x onerror=alert(1)>"
POINT = f"""([plane, index]) => {{
  const view = {VIEW}.planes[plane], rect = view.stage.getBoundingClientRect();
  const [x, y] = view.toScreen(index, view.layout());
  return [rect.left + x, rect.top + y];
}}"""
COLOUR = f"""([plane, index, right]) => {{
  const view = {VIEW}.planes[plane], box = view.layout();
  const [x, y] = view.toScreen(index, box);
  const at = [x - right * box.pxPerMm, y].map(Math.round);
  return [...view.canvas.getContext("2d").getImageData(...at, 1, 1).data].slice(0, 3);
}}"""
OBLIQUE = f"""([affine, inverse, from, to]) => {{
  const Scan = {VIEW}.scan.constructor;
  const scan = new Scan("", {{ affine, inverse, shape: [9, 9, 9] }}, null);
  return [scan.distanceMm(from, to), scan.toIndex(scan.toLps(from))];
}}"""
PAIR = f"""(numbers) => {VIEW}.planes.filter((view) => !view.root.hidden)
  .map((view) => view.root.dataset.slice).join() === numbers"""


@pytest.fixture
def desk(page: Page, app: App) -> Page:
    """Return a page that shows the first finding of the practice scan."""
    show(page, app, CT_ID)
    return page


def show(page: Page, app: App, case_id: str) -> None:
    page.goto(f"{app.url}/review?case={case_id}")
    page.wait_for_selector(".mv-ct .mv-plane")
    page.wait_for_function(f"{VIEW}.planes.every((view) => view.root.dataset.slice)")


def slices(page: Page) -> list[str]:
    return [
        str(row) for row in page.evaluate(f"{VIEW}.planes.map((view) => view.root.dataset.slice)")
    ]


def wait_for_slices(page: Page, *numbers: int) -> None:
    page.wait_for_function(
        f"(all) => {VIEW}.planes.map((view) => view.root.dataset.slice).join() === all.join()",
        arg=list(numbers),
    )


def settle(page: Page) -> None:
    """Wait until the planes have kept their place for half a second."""
    place, since = None, 0
    for _ in range(100):
        found = page.locator(".mv-ct .mv-plane").first.bounding_box()
        place, since = found, since + 1 if found == place else 0
        if since == 5:
            return
        page.wait_for_timeout(100)
    pytest.fail("the planes have not come to rest in ten seconds")


def point(page: Page, plane: int, *index: float) -> tuple[float, float]:
    x, y = page.evaluate(POINT, [plane, list(index)])
    return x, y


def drag(
    page: Page, start: tuple[float, float], stop: tuple[float, float], button: Any = "left"
) -> None:
    page.mouse.move(*start)
    page.mouse.down(button=button)
    page.mouse.move((start[0] + stop[0]) / 2, (start[1] + stop[1]) / 2)
    page.mouse.move(*stop)
    page.mouse.up(button=button)


def saved(workspace: Workspace, case_id: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(workspace.folder / "store.db") as database:
        wanted = "SELECT action, geometry FROM decisions WHERE case_id = ? ORDER BY id"
        return database.execute(wanted, [case_id]).fetchall()


def test_hands_move_the_crosshair_the_window_and_the_picture(desk: Page) -> None:
    desk.mouse.click(*point(desk, CORONAL, 3, 30, 40))
    wait_for_slices(desk, 4, 31, 41)
    drag(desk, point(desk, AXIAL, 3, 31, 41), point(desk, AXIAL, 3, 12, 20))
    wait_for_slices(desk, 4, 13, 21)
    desk.mouse.move(*point(desk, SAGITTAL, 3, 20, 20))
    for _ in range(3):
        desk.mouse.wheel(0, 100)
    wait_for_slices(desk, 4, 13, 24)
    start = point(desk, AXIAL, 3, 12, 20)
    drag(desk, start, (start[0] + 50, start[1] + 25), button="right")
    desk.wait_for_selector(".mv-ct[data-window='1700/-550']")
    drag(desk, start, (start[0] + 30, start[1] - 20), button="middle")
    assert point(desk, AXIAL, 3, 12, 20) == (start[0] + 30, start[1] - 20)
    desk.keyboard.press("f")
    assert point(desk, AXIAL, 3, 12, 20) == start
    desk.wait_for_selector(".mv-ct[data-window='1500/-600']")
    desk.keyboard.down("Control")
    desk.mouse.move(*start)
    desk.mouse.wheel(0, -100)
    desk.keyboard.up("Control")
    assert desk.evaluate(f"{VIEW}.planes[0].zoom") == pytest.approx(1.2)
    assert point(desk, AXIAL, 3, 12, 20) == pytest.approx(start, abs=0.5)
    desk.keyboard.press("Home")
    desk.keyboard.press("ArrowDown")
    wait_for_slices(desk, 2, 13, 24)


def test_values_under_the_pointer_are_those_of_the_file(desk: Page, workspace: Workspace) -> None:
    voxels = voxels_of(workspace, CT_ID)
    desk.keyboard.press("End")
    wait_for_slices(desk, 20, 31, 15)
    for plane, index in ((AXIAL, (19, 33, 24)), (CORONAL, (5, 30, 30)), (SAGITTAL, (7, 20, 14))):
        desk.mouse.move(*point(desk, plane, *index))
        assert desk.locator(".mv-under").inner_text() == f"Pointer {voxels[index]:.0f} HU"
    assert f"Crosshair {voxels[19, 30, 14]:.0f} HU" in desk.locator(".mv-place").inner_text()
    assert desk.locator(".mv-number").first.inner_text() == "slice 20 of 20 · image no. 20"
    desk.get_by_label("MIP slab thickness").select_option("10")
    desk.wait_for_function(f"{VIEW}.planes[1].shown.slab === 11")
    largest = voxels[:, 25:36, :].max(axis=1)[::-1]
    assert desk.evaluate(f"[...{VIEW}.planes[1].shown.values]") == largest.ravel().tolist()
    desk.mouse.move(*point(desk, CORONAL, 5, 30, 30))
    assert desk.locator(".mv-under").inner_text() == f"Pointer max {largest[14, 30]:.0f} HU"


def voxels_of(workspace: Workspace, case_id: str) -> Any:
    with Store.open(workspace.store_url) as store:
        row = store.get_case(case_id)
    assert row is not None
    return open_volume(Case(row.case_id, row.kind, row.source, row.root, row.files, "")).read_all()


def test_lengths_are_right_where_voxels_are_long_and_scans_oblique(desk: Page) -> None:
    desk.keyboard.press("l")
    drag(desk, point(desk, CORONAL, 5, 30, 10), point(desk, CORONAL, 11, 30, 30))
    length = desk.evaluate(f"{VIEW}.measures.lengthOf({VIEW}.measures.items[0])")
    assert length == pytest.approx(25, abs=0.2)  # 6 slices of 2.5 mm up, 20 columns of 1 mm along
    assert desk.locator(".mv-measured-words").inner_text() == f"Length {length:.1f} mm"
    drag(desk, point(desk, CORONAL, 11, 30, 30), point(desk, CORONAL, 5, 30, 30))
    length = desk.evaluate(f"{VIEW}.measures.lengthOf({VIEW}.measures.items[0])")
    assert length == pytest.approx(20, abs=0.2)
    desk.reload()
    desk.wait_for_selector(".mv-ct .mv-plane")
    assert desk.evaluate(f"{VIEW}.measures.items.length") == 1
    turn = 0.4
    normal, down = (0, -3 * np.sin(turn), 3 * np.cos(turn)), (0, np.cos(turn), np.sin(turn))
    affine = affine_from((5, -7, 9), normal, down, (0.6, 0, 0))
    ends = [[1.0, 2.0, 3.0], [4.0, 6.5, 1.0]]
    found, back = desk.evaluate(OBLIQUE, [affine.tolist(), np.linalg.inv(affine).tolist(), *ends])
    expected = np.linalg.norm(np.subtract(*(index_to_lps(affine, end) for end in ends)))
    assert found == pytest.approx(float(expected))
    assert back == pytest.approx(ends[0])


def test_circles_are_as_large_as_the_slice_cuts_them(desk: Page) -> None:
    orange, ball = [242, 177, 60], [8, 30, 14]
    radii = {8: 4.0, 9: np.sqrt(4**2 - 2.5**2)}
    for slice_, radius in radii.items():
        desk.evaluate(f"(z) => {VIEW}.moveTo({VIEW}.scan, [z, 50, 40])", slice_)
        wait_for_slices(desk, slice_ + 1, 51, 41)
        assert desk.evaluate(COLOUR, [AXIAL, ball, radius]) == pytest.approx(orange, abs=40)
        assert desk.evaluate(COLOUR, [AXIAL, ball, radius * 0.6]) != pytest.approx(orange, abs=40)
    desk.evaluate(f"{VIEW}.moveTo({VIEW}.scan, [4, 30, 40])")
    wait_for_slices(desk, 5, 31, 41)
    assert desk.evaluate(COLOUR, [CORONAL, ball, 4.0]) == pytest.approx(orange, abs=40)
    assert desk.evaluate(COLOUR, [AXIAL, ball, 4.0]) != pytest.approx(orange, abs=40)


def test_the_next_finding_moves_all_planes_and_the_canvas_outlives_the_rerun(desk: Page) -> None:
    wait_for_slices(desk, 9, 31, 15)
    desk.evaluate("document.querySelectorAll('.mv-ct canvas').forEach((each) => { each.mine = 1 })")
    desk.keyboard.press("n")
    wait_for_slices(desk, 13, 33, 35)
    desk.locator(".mv-card", has_text="Finding 2:").wait_for()
    desk.keyboard.press("p")
    wait_for_slices(desk, 9, 31, 15)
    kept = "[...document.querySelectorAll('.mv-ct canvas')].map((each) => each.mine)"
    assert desk.evaluate(kept) == [1, 1, 1]


def test_a_finding_is_drawn_and_added_where_it_was_drawn(
    page: Page, app: App, workspace: Workspace
) -> None:
    show(page, app, OTHER_CT_ID)
    page.get_by_label("Reader").fill("Dr Ada")
    page.get_by_label("Reader").press("Enter")
    page.wait_for_function("document.querySelector('.mv-desk')?.dataset.reader === 'Dr Ada'")
    settle(page)  # the bar of a claimed case moves what is below it
    page.keyboard.press("d")
    drag(page, point(page, AXIAL, 8, 20, 30), point(page, AXIAL, 8, 20, 36))
    page.get_by_label("Diameter in mm").fill("7.5")
    page.get_by_role("button", name="Add finding").click()
    page.locator(".mv-card", has_text="Finding 4:").or_(
        page.locator(".mv-row").nth(3)
    ).first.wait_for()
    action, geometry = saved(workspace, OTHER_CT_ID)[-1]
    placed = json.loads(geometry)
    affine = open_affine(workspace, OTHER_CT_ID)
    assert action == "add"
    assert placed["diameter_mm"] == pytest.approx(7.5)
    centre = [placed[f"{axis}_mm"] for axis in "xyz"]
    assert centre == pytest.approx(index_to_lps(affine, (8, 20, 33)).tolist(), abs=0.2)
    assert [placed[f"index_{axis}"] for axis in "zyx"] == [8, 20, 33]
    page.wait_for_function(
        f"{VIEW}.scan.findings.length === 4 && {VIEW}.measures.items.length === 0"
    )


def open_affine(workspace: Workspace, case_id: str) -> Any:
    with Store.open(workspace.store_url) as store:
        row = store.get_case(case_id)
    assert row is not None
    return open_volume(Case(case_id, "ct", row.source, row.root, row.files, "")).affine_lps


def placed(workspace: Workspace, case_id: str) -> list[list[float]]:
    """Return where the findings of a case lie, as (z, y, x)."""
    affine = open_affine(workspace, case_id)
    with Store.open(workspace.store_url) as store:
        found = [row.finding for row in store.list_findings(case_id)]
    places = [[each.x_mm, each.y_mm, each.z_mm] for each in found]
    return [lps_to_index(affine, np.array(place, float)).tolist() for place in places]


def test_another_scan_of_the_patient_scrolls_along_by_mm(desk: Page, workspace: Workspace) -> None:
    desk.get_by_role("button", name="Compare", exact=True).click()
    other = desk.locator(".mv-other", has_text="chest-2")
    other.wait_for()
    assert "same patient" in other.inner_text()
    other.click()
    pair = desk.locator(".mv-plane:visible")
    desk.wait_for_function("document.querySelectorAll('.mv-plane:not([hidden])').length === 2")
    desk.mouse.move(*point(desk, AXIAL, 8, 30, 14))
    desk.mouse.wheel(0, 100)
    desk.wait_for_function(PAIR, arg="10,10")
    desk.get_by_role("button", name="Scroll together").click()
    desk.mouse.move(*point(desk, AXIAL, 8, 30, 14))
    desk.mouse.wheel(0, 100)
    desk.wait_for_function(PAIR, arg="11,10")
    desk.get_by_role("button", name="Scroll together").click()
    desk.mouse.move(*point(desk, AXIAL, 8, 30, 14))
    desk.mouse.wheel(0, 100)
    desk.wait_for_function(PAIR, arg="12,11")
    assert pair.count() == 2
    drawn = desk.evaluate(f"{VIEW}.comparison.scan.findings.map(({{ index }}) => index)")
    assert drawn == [pytest.approx(index, abs=0.01) for index in placed(workspace, OTHER_CT_ID)]
    desk.get_by_role("button", name="End comparison").click()
    desk.wait_for_function("document.querySelectorAll('.mv-plane:not([hidden])').length === 3")


def test_one_finger_scrolls_and_two_zoom(browser: Browser, app: App) -> None:
    context = browser.new_context(viewport={"width": 1024, "height": 768}, has_touch=True)
    context.set_default_timeout(WAIT_MS)
    tablet = context.new_page()
    show(tablet, app, CT_ID)
    wait_for_slices(tablet, 9, 31, 15)
    fingers = context.new_cdp_session(tablet)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(places)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    x, y = point(tablet, AXIAL, 8, 32, 24)
    touch("touchStart", (x, y))
    touch("touchMove", (x, y + 28))
    touch("touchMove", (x, y + 56))
    touch("touchEnd")
    wait_for_slices(tablet, 13, 31, 15)
    touch("touchStart", (x - 20, y), (x + 20, y))
    touch("touchMove", (x - 40, y), (x + 40, y))
    touch("touchEnd")
    assert tablet.evaluate(f"{VIEW}.planes[0].zoom") == pytest.approx(2, abs=0.1)
    wait_for_slices(tablet, 13, 31, 15)
    width = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert tablet.evaluate(width)
    context.close()


def strange(workspace: Workspace, root: Path) -> dict[str, str]:
    """Put scans into the store that are unlike others; return what the page is to say of each."""
    hu = chest((6, 40, 30))
    turn = np.radians(20)
    tilted = (1.0, 0.0, 0.0, 0.0, float(np.cos(turn)), float(np.sin(turn)))
    oblique = CtSeries(hu=hu, orientation=tilted, series_uid="1.2.826.0.1.3680043.8.498.90")
    marked = CtSeries(hu=hu, series_uid="1.2.826.0.1.3680043.8.498.91")
    holed = np.full((8, 8, 4), -1000, np.float32)
    holed[3, 3, 2] = np.nan
    cases = {
        "ct-90": Case("ct-90", "ct", "oblique", root, write_series(root / "o", oblique), "1.90"),
        "ct-91": Case("ct-91", "ct", MARKUP, root, write_series(root / "m", marked), "1.91"),
        "ct-92": Case("ct-92", "ct", "nan.nii", root, (write_nifti(root / "nan.nii", holed),), ""),
        "ct-93": Case("ct-93", "ct", "gone", root, (root / "gone.nii",), ""),
        "ct-94": Case("ct-94", "ct", "flat.nii", root, (flat(root),), ""),
    }
    with Store.open(workspace.store_url) as store:
        run = store.start_run("scan", {}, model="m@1", model_sha256="0" * 64)
        for case in cases.values():
            empty = ct_result(cases["ct-90"])
            store.save_result(run, type(empty)(case, "accept", "ok", "", "", None, (), 1.0, 100.0))
    return {
        "ct-90": "oblique by 20°: planes follow the scan",
        "ct-91": MARKUP,
        "ct-92": "are not finite numbers",
        "ct-93": "cannot be read",
        "ct-94": "fewer than 3 slices",
    }


def flat(root: Path) -> Path:
    return write_nifti(root / "flat.nii", np.full((9, 7, 1), -500, np.int16))


def test_strange_scans_are_shown_or_a_sentence_says_why_not(
    page: Page, app: App, workspace: Workspace, tmp_path: Path
) -> None:
    for case_id, words in strange(workspace, tmp_path).items():
        page.goto(f"{app.url}/review?case={case_id}")
        page.get_by_text(words).first.wait_for()
        assert page.locator("[data-testid=stException]").count() == 0
        assert "Traceback" not in page.locator("body").inner_text()


def test_files_that_vanish_while_a_scan_is_read_are_a_sentence(
    page: Page, start: Callable[[], App], workspace: Workspace, tmp_path: Path
) -> None:
    made = CtSeries(hu=chest((20, 64, 48)), series_uid="1.2.826.0.1.3680043.8.498.95")
    case = Case("ct-95", "ct", "short lived", tmp_path, write_series(tmp_path / "s", made), "1.95")
    with Store.open(workspace.store_url) as store:
        run = store.start_run("scan", {}, model="m@1", model_sha256="0" * 64)
        store.save_result(run, ct_result(case))
    show(page, start(), "ct-95")
    for path in case.files:
        path.unlink()
    page.evaluate("document.querySelector('.mv-plane[data-plane=axial] .mv-slider').focus()")
    page.keyboard.press("Home")
    page.get_by_text("This slice cannot be shown:").first.wait_for()
    assert page.locator("[data-testid=stException]").count() == 0
