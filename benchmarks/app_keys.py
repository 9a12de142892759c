"""From the key of a decision to the next image on the screen, in a real Chromium.

    python benchmarks/app_keys.py

scans nothing: it fills a workspace with made images of 640x480 and one of 20,000x20,000
pixels, starts the review app, presses keys as a reader does, and writes
benchmarks/results/app_keys.json. Beside the time on the clock, which a busy machine stretches,
it writes what a decision costs in processor time, of app and browser together. Needs Linux,
playwright and chromium.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from claims import Claim, write_claims
from PIL import Image
from playwright.sync_api import Page

from docs.make_screenshots import browsing, served
from medvit.findings.finding import CaseResult, Finding, finding_id
from medvit.io.case import Case
from medvit.store.store import Store
from medvit.workspace import Workspace

LARGE_SIDE = 20_000
TARGET_MS = 150.0
REST_MS = 700
NO_RIVAL = "none measured here"

PRESS = """key => new Promise((done, fail) => {
  const card = () => document.querySelector(".mv-card")?.dataset.about;
  const before = card();
  const start = performance.now();
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, composed: true }));
  const look = () => {
    const shown = document.querySelector(".mv-image")?.dataset.shown;
    if (card() !== before && shown) done(performance.now() - start);
    else if (performance.now() - start > 30000) fail(new Error("no next case in 30 s"));
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})"""
"""From the key to the first frame with the next case: its card, and all tiles of its picture."""

ZOOM = """() => new Promise((done) => {
  const image = document.querySelector(".mv-image");
  const stage = image.querySelector(".mv-stage");
  const before = image.dataset.scale;
  const start = performance.now();
  stage.dispatchEvent(new WheelEvent("wheel", { deltaY: -100, clientX: 400, clientY: 400 }));
  const look = () => {
    const isWhole = image.dataset.scale !== before && image.dataset.shown;
    if (isWhole || performance.now() - start > 30000) done(performance.now() - start);
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})"""


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presses", type=int, default=40, help="decisions that are timed")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="medvit-keys-") as folder:
        workspace = filled(Path(folder), images=chosen.presses + 4)
        with served(workspace) as url, browsing() as page:
            keys, cpu_ms = press_keys(page, url, chosen.presses)
            zooms = zoom_large(page, url)
    claims = [
        Claim("key to next case, median", middle(keys), "ms", NO_RIVAL, None, TARGET_MS, False),
        Claim("key to next case, p95", late(keys), "ms", NO_RIVAL, None, None, False),
        Claim("processor time of a decision", cpu_ms, "ms", NO_RIVAL, None, None, False),
        Claim("zoom step on 20,000 px, median", middle(zooms), "ms", NO_RIVAL, None, None, False),
    ]
    write_claims("app_keys", claims, presses=chosen.presses, load=round(os.getloadavg()[0], 1))


def filled(folder: Path, *, images: int) -> Workspace:
    """Return a workspace with images that wait for a decision each, and a very large one."""
    workspace, root = Workspace(folder / "workspace"), folder / "images"
    workspace.prepare()
    root.mkdir()
    rng = np.random.default_rng(4)
    with Store.open(workspace.store_url) as store:
        run = store.start_run("scan", {}, model="bench@1", model_sha256="0" * 64)
        for number in range(images):
            pixels = rng.normal(128, 20, (480, 640)).clip(0, 255).astype(np.uint8)
            store.save_result(run, made(root, f"part-{number:03d}", pixels))
        ramp = (np.arange(LARGE_SIDE, dtype=np.uint32) // 9 % 251).astype(np.uint8)
        large = np.broadcast_to(ramp, (LARGE_SIDE, LARGE_SIDE)) ^ ramp[:, None]
        store.save_result(run, made(root, "zz-large", large))
        store.finish_run(run, "done", {})
    return workspace


def made(root: Path, name: str, pixels: np.ndarray) -> CaseResult:
    """Write an image, and return what a scan would have said of it."""
    path = root / f"{name}.png"
    Image.fromarray(pixels).save(path, compress_level=1)
    case = Case(name, "image", path.name, root, (path,))
    found = Finding(
        case_id=name,
        kind="image",
        source=path.name,
        series_uid="",
        finding_id=finding_id(name, "bench@1", 1),
        label="scratch",
        probability=0.9,
        x_min=100,
        y_min=100,
        x_max=200,
        y_max=160,
    )
    return CaseResult(case, "accept", "ok", "", "scratch", 0.9, (found,), 0.1, 90.0)


def press_keys(page: Page, url: str, presses: int) -> tuple[list[float], float]:
    """Return the milliseconds of each decision, and the processor time of one.

    The first decision warms up and is left out.
    """
    page.goto(f"{url}/review?case=part-000")
    page.wait_for_selector(".mv-image[data-shown=image]")
    page.wait_for_function("document.querySelector('.mv-desk')?.dataset.reader")
    found, before = [], 0.0
    for number in range(presses + 1):
        if number == 1:
            before = cpu_seconds()
        page.wait_for_timeout(REST_MS)  # a reader looks; the next picture is fetched meanwhile
        found.append(float(page.evaluate(PRESS, "ax"[number % 2])))
    spent_ms = 1000 * (cpu_seconds() - before) / presses
    return found[1:], round(spent_ms, 1)


def zoom_large(page: Page, url: str) -> list[float]:
    """Return the milliseconds of each step from the whole of a large image into its pixels."""
    page.goto(f"{url}/review?case=zz-large")
    page.wait_for_selector(".mv-image[data-shown=image]")
    return [float(page.evaluate(ZOOM)) for _ in range(30)]


def cpu_seconds() -> float:
    """Return the processor time that all processes below this one have used so far."""
    parents, used = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it ended meanwhile
        parents[int(folder.name)] = int(fields[1])
        used[int(folder.name)] = int(fields[11]) + int(fields[12])
    below = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    ticks = sum(used.get(pid, 0) for pid in below - {os.getpid()})
    return ticks / os.sysconf("SC_CLK_TCK")


def middle(found: Sequence[float]) -> float:
    """Return the median, rounded."""
    return round(statistics.median(found), 1)


def late(found: Sequence[float]) -> float:
    """Return what 95 of 100 stay below."""
    return round(float(np.percentile(found, 95)), 1)


if __name__ == "__main__":
    if shutil.which("chromium") is None:
        msg = "needs the program chromium"
        raise SystemExit(msg)
    main()
