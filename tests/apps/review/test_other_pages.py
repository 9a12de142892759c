"""Labels, models and runs in a real browser: what people do there, by hand and by keys."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medvit.store.rows import Decision
from medvit.store.store import Store
from medvit.workspace import Workspace
from pipelines.jobs import list_jobs
from tests.apps.review.conftest import IMAGE_ID, App
from tests.apps.review.test_browser import sign_in
from tests.make.models import CLASSES
from tests.make.raster import grey, write_image
from tests.make.registry import put_version

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_what_readers_agree_on_is_downloaded(
    page: Page, app: App, workspace: Workspace, tmp_path: Path
) -> None:
    with Store.open(workspace.store_url) as store:
        store.decide(Decision(IMAGE_ID, None, "relabel", reader="Ada", label=CLASSES[1]))
    page.goto(f"{app.url}/labels")
    sign_in(page, "Ada")
    counted = page.locator(".mv-plain", has_text="Labels of images as they stand now")
    counted.get_by_role("cell", name=CLASSES[1], exact=True).wait_for()
    page.get_by_role("combobox", name="Export what readers agree on as").click()
    page.get_by_role("option", name="Manifest").click()
    page.get_by_role("button", name="Prepare").click()
    with page.expect_download() as coming:
        page.get_by_role("button", name="Download").click()
    coming.value.save_as(tmp_path / "manifest.csv")
    with (tmp_path / "manifest.csv").open(encoding="utf-8") as stream:
        assert [row["label"] for row in csv.DictReader(stream)] == [CLASSES[1]]


def test_the_operating_point_moves_by_keys_and_the_figures_with_it(page: Page, app: App) -> None:
    page.goto(f"{app.url}/models")
    sign_in(page, "Ada")
    page.get_by_role("combobox", name="Look at").click()
    page.get_by_role("option", name="nodule-swin3d").first.click()
    page.locator(".js-plotly-plot .scatterlayer").wait_for()
    point = page.get_by_role("slider")
    point.focus()
    sentence = page.get_by_text("false positives a scan; probability")
    before = sentence.inner_text()
    point.press("ArrowRight")
    page.wait_for_function("before => !document.body.innerText.includes(before)", arg=before)
    assert sentence.inner_text() != before


def test_the_threshold_of_a_class_moves_by_keys_and_the_figures_with_it(
    page: Page, app: App, workspace: Workspace
) -> None:
    thresholds = [0.125, 0.5, 0.875]
    points = {"threshold": thresholds, "precision": [0.4, 0.8, 1], "recall": [1, 0.75, 0.5]}
    curves = {"split": "test", "classes": {"hole": {**points, "n": 4}}}
    put_version(workspace.models, "1", name="curved", metrics={"curves": curves})
    page.goto(f"{app.url}/models")
    sign_in(page, "Ada")
    page.get_by_role("combobox", name="Look at").click()
    page.get_by_role("option", name="curved@1").click()
    page.get_by_text("from 0.500: finds 75.0% of 4 images of hole, 20.0% of what it").wait_for()
    page.locator(".js-plotly-plot .scatterlayer").wait_for()
    slider = page.get_by_role("slider")
    slider.focus()
    slider.press("ArrowRight")
    page.get_by_text("from 0.875: finds 50.0% of 4 images of hole, 0.0% of what it").wait_for()
    slider.press("ArrowLeft")
    slider.press("ArrowLeft")
    page.get_by_text("from 0.125: finds 100.0% of 4 images of hole, 60.0% of what it").wait_for()
    assert page.get_by_text("from 0.875").count() == page.get_by_text("from 0.500").count() == 0


def test_a_scan_is_started_and_watched_and_its_cases_are_in_the_worklist(
    page: Page, app: App, workspace: Workspace, tmp_path: Path
) -> None:
    parts = tmp_path / "parts"
    for number in range(3):
        write_image(parts / f"part{number}.png", grey(96, 96 + 8 * number))
    page.goto(f"{app.url}/runs")
    sign_in(page, "Ada")
    page.get_by_role("textbox", name="Folder", exact=True).fill(str(parts))
    page.get_by_role("button", name="Allow").click()
    page.get_by_role("textbox", name="Folder or file").fill(str(parts))
    page.get_by_role("button", name="Start scan").click()
    jobs = page.locator(".mv-plain", has_text="What it said")
    jobs.get_by_role("cell", name="done", exact=False).wait_for(timeout=120_000)
    (job,) = list_jobs(workspace)
    assert (job.by, job.state) == ("Ada", "done")
    page.goto(f"{app.url}/worklist")
    page.locator(".mv-line", has_text="part2.png").wait_for()
    assert page.url == f"{app.url}/"
    assert not page.get_by_text("Page not found").count()
