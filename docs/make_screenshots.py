"""Take the screenshots of the README anew, from a workspace that was scanned.

    python docs/make_screenshots.py medvit-workspace

starts the review app on the workspace, opens the worklist, a CT case, an image with findings
and the other pages, and writes each as a picture of 1280x800 in the dark theme, as *_tablet.png
of 1024x768 in the light one, and keys.png. `--only models runs` takes those pages alone. Needs
playwright and chromium.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

from apps.review.launch import app_command, app_environment
from medvit.io.case import Kind
from medvit.store.rows import CaseFilter
from medvit.store.store import Store
from medvit.workspace import Workspace

FIRST_SIGHT = {
    "worklist": ".mv-line",
    "labels": ".mv-plain",
    "models": ".js-plotly-plot",
    "runs": ".mv-plain",
    "readers": ".mv-plain",
}
"""Pages by their address, with what is there once they are drawn."""

CASES: tuple[Kind, ...] = ("ct", "image")
OUT = Path(__file__).with_name("screenshots")
SIZE: ViewportSize = {"width": 1280, "height": 800}
TABLET: ViewportSize = {"width": 1024, "height": 768}
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
START_S = 180.0
SETTLE_MS = 1500
READER = "Dr Example"


def main() -> None:
    """Parse the command line and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path, help="a workspace with scanned cases")
    parser.add_argument("--ct", default="", help="case id of the CT to show")
    parser.add_argument("--image", default="", help="case id of the image to show")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the pictures")
    parser.add_argument("--only", nargs="+", choices=(*FIRST_SIGHT, *CASES), help="these alone")
    chosen = parser.parse_args()
    wanted = chosen.only or (*FIRST_SIGHT, *CASES)
    workspace = Workspace(chosen.workspace)
    cases = {"ct": chosen.ct, "image": chosen.image}
    cases = {
        kind: cases[kind] or most_probable(workspace, kind) for kind in CASES if kind in wanted
    }
    chosen.out.mkdir(parents=True, exist_ok=True)
    with served(workspace) as url:
        for end, size, theme in (("", SIZE, "dark"), ("_tablet", TABLET, "light")):
            with browsing(size, theme) as page:
                for name, sight in FIRST_SIGHT.items():
                    if name in wanted:
                        take_page(page, f"{url}/{name}", sight, chosen.out / f"{name}{end}.png")
                for kind, case_id in cases.items():
                    address = f"{url}/review?case={case_id}"
                    take_case(page, address, chosen.out / f"{kind}{end}.png")
                if "image" in wanted and not end:
                    page.keyboard.press("?")
                    save(page, chosen.out / "keys.png")


def most_probable(workspace: Workspace, kind: Kind) -> str:
    """Return the case of a kind with the most probable finding.

    Raises:
        SystemExit: If no case of the kind has findings.
    """
    with Store.open(workspace.store_url) as store:
        rows, _ = store.list_cases(CaseFilter(kind=kind, sort="probability"), limit=1)
    if not rows or not rows[0].n_findings:
        msg = f"no {kind} case in {workspace.folder} has findings; scan some first"
        raise SystemExit(msg)
    return rows[0].case_id


@contextmanager
def served(workspace: Workspace) -> Iterator[str]:
    """Run the app on a free port as long as the pictures are taken."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = app_environment(workspace.folder, "", os.environ)
    with subprocess.Popen(app_command(port, "127.0.0.1"), env=environment) as app:
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_up(url)
            yield url
        finally:
            app.terminate()


def wait_until_up(url: str) -> None:
    """Wait for the app to answer.

    Raises:
        OSError: If it has not answered after `START_S`.
    """
    deadline = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(f"{url}/_stcore/health", timeout=2).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


@contextmanager
def browsing(size: ViewportSize = SIZE, theme: str = "dark") -> Iterator[Page]:
    """Open a tab in which the reader has told their name and chosen a theme."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport=size, device_scale_factor=1)
        page.set_default_timeout(180_000)
        page.add_init_script(f"localStorage.setItem('medvit.reader', {READER!r})")
        page.add_init_script(f"localStorage.setItem('medvit.theme', {theme!r})")
        yield page
        browser.close()


def take_page(page: Page, url: str, sight: str, path: Path) -> None:
    """Save a picture of a page once something is on it."""
    page.goto(url)
    page.wait_for_selector(sight)
    save(page, path)


def take_case(page: Page, url: str, path: Path) -> None:
    """Save a picture of a case once all its pixels are there."""
    page.goto(url)
    page.wait_for_selector(
        ".mv-image[data-shown=heat], .mv-ct:not(:has(.mv-plane[data-slice=''])) .mv-plane"
    )
    page.wait_for_selector(".mv-row")
    save(page, path)


def save(page: Page, path: Path) -> None:
    """Save the tab as it is once nothing moves any more."""
    page.wait_for_function(f"document.querySelector('.mv-desk')?.dataset.reader === {READER!r}")
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton], [data-stale=true]')")
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=path)


if __name__ == "__main__":
    main()
