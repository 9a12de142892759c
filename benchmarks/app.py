"""The CT viewer of the review app on a scan of 1 GB: a real app process, a real Chromium.

    python benchmarks/app.py

measures in the page, from what a hand does to what is painted; medians, 95th percentiles beside
them. Beside the first slice stand the CPU seconds spent on it, for machines that have other
work to do. The scan lies as `medvit scan` leaves it: in the store, its pyramid in the cache. Needs
playwright and chromium.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import socket
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from big_chests import ANNOTATIONS, BigChest, make_chest
from claims import Claim, write_claims
from playwright.sync_api import Page, sync_playwright

from medvit.findings.finding import CaseResult, Finding, finding_id
from medvit.geometry import lps_to_index
from medvit.io.case import Case
from medvit.io.discover import discover
from medvit.io.pyramids import open_pyramid
from medvit.io.scratch import Scratch
from medvit.store.store import Store
from medvit.workspace import Workspace
from tests.apps.review.conftest import App

GB1 = BigChest("gb1-dicom", finer=(5, 1, 1))
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WAIT_MS = 120_000
OPENINGS = 3
STEPS = 60
JUMPS = 24
WINDOWS = 30
REST_MS = 60
OPEN_AHEAD_MS = 2000
"""How long a reader looks at the worklist; its first scans are opened meanwhile."""
MODEL = "benchmark@1"

READY = """
window.until = async (done) => {
  while (!done()) await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now();
};
window.shows = (plane, slice) =>
  document.querySelector(`.mv-plane[data-plane=${plane}]`)?.dataset.slice === String(slice);
"""
OPEN = """async (id) => {
  const shown = () => document.querySelector(".mv-plane[data-plane=axial]")?.dataset.slice;
  const start = performance.now();
  document.querySelector(`.mv-line[data-case="${id}"] a`).click();
  return (await until(shown)) - start;
}"""
WHEEL = """async (plane) => {
  const view = document.querySelector(`.mv-plane[data-plane=${plane}]`);
  const next = Number(view.dataset.slice) + 1;
  const start = performance.now();
  const turn = new WheelEvent("wheel", { deltaY: 100, cancelable: true });
  view.querySelector(".mv-stage").dispatchEvent(turn);
  return (await until(() => shows(plane, next))) - start;
}"""
JUMP = """async ([plane, slice]) => {
  const slider = document.querySelector(`.mv-plane[data-plane=${plane}] .mv-slider`);
  slider.value = slice;
  const start = performance.now();
  slider.dispatchEvent(new Event("input"));
  return (await until(() => shows(plane, slice))) - start;
}"""
PRESET = """async (key) => {
  const root = document.querySelector(".mv-ct");
  const before = root.dataset.window;
  const start = performance.now();
  document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  const worked = performance.now() - start;
  await new Promise(requestAnimationFrame);
  if (root.dataset.window === before) throw new Error("the window did not change");
  return [worked, performance.now() - start];
}"""


def main() -> None:
    """Parse the command line, measure and write the claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chests", type=Path, default=Path("/tmp/medvit-chests"))
    chosen = parser.parse_args()
    folder = make_chest(GB1, chosen.chests)
    with tempfile.TemporaryDirectory() as place:
        workspace = Workspace(Path(place) / "workspace")
        workspace.prepare()
        case = fill(workspace, folder)
        figures = measure(workspace, case, Path(place) / "app.log")
    write_claims("app", claims_of(figures), figures=figures, load_average=os.getloadavg()[0])


def fill(workspace: Workspace, folder: Path) -> Case:
    """Put the scan into the store as a run would, with the planted nodules as findings."""
    case = discover(folder / "scan").cases[0]
    volume = open_pyramid(case, scratch=Scratch.below(workspace.cache)).levels[0]
    with (folder / ANNOTATIONS).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    findings = []
    for number, row in enumerate(rows):
        x, y, z = (float(row[f"coord{axis}"]) for axis in "XYZ")
        index = np.rint(lps_to_index(volume.affine_lps, (x, y, z))).astype(int).tolist()
        name, size = finding_id(case.case_id, MODEL, number), float(row["diameter_mm"])
        place = (x, y, z, size, *index)
        findings.append(_finding(case, name, place))
    with Store.open(workspace.store_url) as store:
        run = store.start_run("scan", {}, model=MODEL, model_sha256="0" * 64)
        result = CaseResult(case, "accept", "ok", "", "", None, tuple(findings), 1.0, 100.0)
        store.save_result(run, result)
        store.finish_run(run, "done", {})
    return case


def _finding(case: Case, name: str, place: tuple[Any, ...]) -> Finding:
    x, y, z, size, *index = place
    return Finding(
        case_id=case.case_id,
        kind="ct",
        source=case.source,
        series_uid=case.series_uid,
        finding_id=name,
        label="nodule",
        probability=0.9,
        x_mm=x,
        y_mm=y,
        z_mm=z,
        diameter_mm=size,
        index_z=index[0],
        index_y=index[1],
        index_x=index[2],
        model=MODEL,
    )


def measure(workspace: Workspace, case: Case, log: Path) -> dict[str, Any]:
    """Return all figures: seconds as lists, memory in MB."""
    figures: dict[str, Any] = {"first slice": [], "first slice, CPU of app and browser": []}
    for number in range(OPENINGS):
        with running(workspace, log) as app, browsing() as page:
            page.goto(app.url)
            page.wait_for_selector(f'.mv-line[data-case="{case.case_id}"] a')
            page.wait_for_timeout(OPEN_AHEAD_MS)
            before = _cpu_s()
            figures["first slice"].append(page.evaluate(OPEN, case.case_id) / 1000)
            figures["first slice, CPU of app and browser"].append(_cpu_s() - before)
            if number == OPENINGS - 1:
                figures |= scroll(page)
                figures |= memory_of(app._process.pid)
    return figures


def scroll(page: Page) -> dict[str, Any]:
    """Scroll, jump and change windows in an open case."""
    page.wait_for_function("until !== undefined && shows !== undefined")
    for plane in ("coronal", "sagittal"):
        page.wait_for_selector(f".mv-plane[data-plane={plane}]:not([data-slice=''])")
    page.wait_for_timeout(2000)
    figures: dict[str, Any] = {}
    rng = np.random.default_rng(1)
    for plane, count in (("axial", 2000), ("coronal", 512), ("sagittal", 512)):
        page.evaluate(JUMP, [plane, count // 4])
        page.wait_for_timeout(1500)
        figures[f"next slice, {plane}"] = [_paused(page, WHEEL, plane) for _ in range(STEPS)]
        numbers = rng.permutation(np.arange(2, count - 2))[:JUMPS].tolist()
        figures[f"any slice, {plane}"] = [_paused(page, JUMP, [plane, n]) for n in numbers]
    page.wait_for_timeout(2000)
    changes = [page.evaluate(PRESET, str(2 + n % 3)) for n in range(WINDOWS)]
    figures["window change"] = [painted / 1000 for _, painted in changes]
    figures["window change, work alone"] = [worked / 1000 for worked, _ in changes]
    page.get_by_label("MIP slab thickness").select_option("20")
    page.wait_for_timeout(3000)
    figures["next slice, MIP 20 mm"] = [_paused(page, WHEEL, "axial") for _ in range(STEPS // 3)]
    return figures


def _paused(page: Page, script: str, argument: Any) -> float:
    page.wait_for_timeout(REST_MS)
    return float(page.evaluate(script, argument)) / 1000


def memory_of(pid: int) -> dict[str, Any]:
    """Return the peak of the app process, and of those it started, in MB."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    others = sum(_peak_mb(int(child)) for child in text.split())
    return {"app peak MB": _peak_mb(pid), "other processes MB": others}


def _cpu_s() -> float:
    """Return the CPU seconds of all processes that this one started, and that are alive."""
    return sum(map(_own_cpu_s, _below(os.getpid())))


def _below(pid: int) -> Iterator[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(n) for task in tasks for n in (task / "children").read_text().split()]
    except OSError:  # it has just ended
        return
    for child in children:
        yield child
        yield from _below(child)


def _own_cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has just ended
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


@contextmanager
def running(workspace: Workspace, log: Path) -> Iterator[App]:
    """Run the app on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = App(workspace, port, log)
    try:
        yield app.wait()
    finally:
        app.kill()


@contextmanager
def browsing() -> Iterator[Page]:
    """Open a tab of a browser without a past."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(WAIT_MS)
        page.add_init_script(READY)
        yield page
        browser.close()


def claims_of(figures: dict[str, Any]) -> list[Claim]:
    """Return a claim for each figure: the median, with the 95th percentile in its name's unit."""
    targets = {
        "first slice": 0.5,
        "next slice, axial": 0.1,
        "next slice, coronal": 0.1,
        "next slice, sagittal": 0.1,
        "next slice, MIP 20 mm": 0.1,
        "window change": 0.05,
    }
    claims = []
    for name, target in targets.items():
        values = figures[name]
        for kind, value in (("median", statistics.median(values)), ("p95", _p95(values))):
            title = f"{name} of a 1 GB scan, {kind}"
            claims.append(_claim(title, round(value, 4), "s", target))
    memory = figures["app peak MB"] + figures["other processes MB"]
    claims.append(_claim("app process on a 1 GB scan, peak", round(memory), "MB", 700.0))
    return claims


def _claim(name: str, value: float, unit: str, target: float) -> Claim:
    return Claim(name, value, unit, "target", target, target, larger_is_better=False)


def _p95(values: list[float]) -> float:
    return float(np.percentile(values, 95))


if __name__ == "__main__":
    main()
