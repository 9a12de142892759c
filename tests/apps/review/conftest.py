"""A workspace with one small CT series, images and a refused file, and the app on it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from apps.review import access, ct_routes
from apps.review.launch import app_command, app_environment
from apps.review.volumes import VolumeShelf
from medvit.findings.finding import CaseResult, Finding, finding_id
from medvit.geometry import index_to_lps
from medvit.io.case import Case
from medvit.io.readers import open_volume
from medvit.store.store import Store
from medvit.workspace import Workspace
from tests.make.dicom import CtSeries, write_series
from tests.make.models import CLASSES, DEFECT, register_untrained
from tests.make.raster import grey, write_image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CT_ID, OTHER_CT_ID = "ct-01", "ct-02"
CT_CASES = ((CT_ID, "chest"), (OTHER_CT_ID, "chest-2"))
IMAGE_ID, REFUSED_ID, LOST_ID = "im-01", "im-02", "im-03"
MARKUP = "<b>bold</b> ![x](http://outside.example/x.png) :smile: $x$"
START_S = 180.0
WAIT_MS = 120_000
"""Beside other work on two cores a page has taken more than 45 s."""
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass(frozen=True, slots=True)
class Practice:
    """What the tests of the app work on."""

    workspace: Workspace
    store: Store
    ct: Case
    image: Case

    @property
    def ct_findings(self) -> list[str]:
        return [row.finding.finding_id for row in self.store.list_findings(self.ct.case_id)]


@pytest.fixture
def practice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Practice]:
    """Return a workspace, filled, that the app's own environment points to."""
    workspace = Workspace(tmp_path / "workspace")
    workspace.prepare()
    monkeypatch.setenv("MEDVIT_WORKSPACE", str(workspace.folder))
    monkeypatch.setenv("MEDVIT_STORE", "")
    monkeypatch.setattr(ct_routes, "SHELF", VolumeShelf(build=ct_routes.build_pyramid))
    with Store.open(workspace.store_url) as store:
        yield fill(workspace, store, tmp_path / "source")
    access._opened.cache_clear()


@pytest.fixture
def models(practice: Practice) -> Path:
    """Return the folder of untrained models, registered in the workspace."""
    register_untrained(practice.workspace.models)
    return practice.workspace.models


def fill(workspace: Workspace, store: Store, root: Path) -> Practice:
    ct, other = (series(root, case_id, name) for case_id, name in CT_CASES)
    image = picture(root, IMAGE_ID, "steel/plate.png")
    run = store.start_run("scan", {}, model="m@1", model_sha256="0" * 64)
    store.save_result(run, ct_result(ct))
    store.save_result(run, ct_result(other))
    store.save_result(run, image_result(image))
    refused = picture(root, REFUSED_ID, f"steel/{MARKUP}.png".replace("//", ""))
    store.save_result(
        run,
        replace(
            image_result(refused),
            verdict="refuse",
            reason="too_small",
            message=f"{MARKUP}: 1 x 1 pixels, at least 16 x 16 are needed",
            label="",
            probability=None,
            findings=(),
        ),
    )
    lost = picture(root, LOST_ID, "steel/lost.png")
    store.save_result(run, image_result(lost))
    lost.files[0].unlink()
    store.finish_run(run, "done", {})
    return Practice(workspace, store, ct, image)


def chest(shape: tuple[int, int, int]) -> npt.NDArray[np.int16]:
    """Return values that tell slices apart: a body with two lungs and one bright ball."""
    z, y, x = np.indices(shape)
    hu = np.full(shape, -1000)
    middle_y, middle_x = shape[1] / 2, shape[2] / 2
    body = ((y - middle_y) / (0.45 * shape[1])) ** 2 + ((x - middle_x) / (0.45 * shape[2])) ** 2 < 1
    hu[body] = 40
    for side in (-1, 1):
        lung = ((y - middle_y) / 18) ** 2 + ((x - middle_x - side * 10) / 8) ** 2 < 1
        hu[lung] = -850
    hu[(z - 8) ** 2 * 6 + (y - 30) ** 2 + (x - 14) ** 2 < 16] = 60
    stored: npt.NDArray[np.int16] = (hu + z * 3).astype(np.int16)
    return stored


def ct_result(case: Case) -> CaseResult:
    affine = open_volume(case).affine_lps
    places = (((8, 30, 14), 8.0, 0.93), ((12, 32, 34), 5.0, 0.61), ((15, 28, 15), 4.0, 0.22))
    findings = []
    for number, ((z, y, x), diameter_mm, probability) in enumerate(places):
        x_mm, y_mm, z_mm = index_to_lps(affine, (z, y, x)).tolist()
        found = Finding(
            case_id=case.case_id,
            kind="ct",
            source=case.source,
            series_uid=case.series_uid,
            finding_id=finding_id(case.case_id, "m@1", number),
            label="nodule",
            probability=probability,
            x_mm=x_mm,
            y_mm=y_mm,
            z_mm=z_mm,
            diameter_mm=diameter_mm,
            index_z=z,
            index_y=y,
            index_x=x,
            model="m@1",
        )
        findings.append(found)
    return CaseResult(case, "accept", "ok", "", "", None, tuple(findings), 1.0, 100.0)


def series(root: Path, case_id: str, name: str) -> Case:
    uid = f"1.2.826.0.1.3680043.8.498.{case_id[-1]}"
    made = CtSeries(hu=chest((20, 64, 48)), spacing_mm=(2.5, 1.0, 1.0), series_uid=uid)
    return Case(case_id, "ct", name, root, write_series(root / name, made), uid)


def picture(root: Path, case_id: str, source: str) -> Case:
    return Case(case_id, "image", source, root, (write_image(root / source, grey(48, 64)),))


def image_result(case: Case) -> CaseResult:
    model = f"{DEFECT}@test"
    found = Finding(
        case.case_id,
        "image",
        case.source,
        "",
        finding_id(case.case_id, model, 1),
        CLASSES[0],
        0.8,
        x_min=8,
        y_min=6,
        x_max=40,
        y_max=30,
        model=model,
    )
    return CaseResult(case, "accept", "ok", "", CLASSES[0], 0.8, (found,), 0.1, 90.0)


class App:
    """The app as a process of its own."""

    def __init__(
        self,
        workspace: Workspace,
        port: int,
        log: Path,
        *,
        store: str = "",
        auth: Path | None = None,
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                app_command(port, "127.0.0.1", auth),
                env=app_environment(workspace.folder, store, os.environ, auth),
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> App:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2).close()
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
            else:
                return self
        self.kill()
        pytest.fail(f"the app did not start: {self._log.read_text(encoding='utf-8')[-2000:]}")

    def kill(self) -> None:
        """End it as a power failure does."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    place = Workspace(tmp_path_factory.mktemp("workspace"))
    register_untrained(place.models)
    with Store.open(place.store_url) as store:
        fill(place, store, tmp_path_factory.mktemp("source"))
    return place


@pytest.fixture(scope="module")
def start(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], App]]:
    """Return a function that starts the app; all are killed at the end."""
    apps: list[App] = []
    log = tmp_path_factory.mktemp("log") / "app.log"

    def begin() -> App:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        apps.append(App(workspace, port, log))
        return apps[-1].wait()

    yield begin
    for app in apps:
        app.kill()


@pytest.fixture(scope="module")
def app(start: Callable[[], App]) -> App:
    return start()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        reason = "browser tests need the package playwright and the program chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Return a tab of a browser without a past; nothing may leave this machine."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.set_default_timeout(WAIT_MS)
    tab = context.new_page()
    faults: list[str] = []
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("request", lambda request: _note_outsider(request.url, faults))
    yield tab
    context.close()
    assert faults == []


def _note_outsider(url: str, faults: list[str]) -> None:
    if not url.startswith(("http://127.0.0.1:", "blob:", "data:", "ws://127.0.0.1:")):
        faults.append(f"the page asked for {url}")
