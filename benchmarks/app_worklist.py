"""One page of the worklist over 100,000 cases, in a real Chromium and in the store alone.

    python benchmarks/app_worklist.py

fills a SQLite store with made cases, signals and decisions of twenty readers, starts the review
app, turns pages, changes queues, sorts and searches as a reader does, and writes
benchmarks/results/app_worklist.json. Needs playwright and chromium.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Page
from sqlalchemy import insert, text

from benchmarks.claims import Claim, write_claims
from docs.make_screenshots import browsing, served
from medvit.findings.finding import CaseResult
from medvit.io.case import Case
from medvit.store.convert import case_values
from medvit.store.database import utc_now
from medvit.store.engine import build_engine, writing
from medvit.store.rows import CaseFilter
from medvit.store.store import Store
from medvit.store.tables import CaseTable, DecisionTable, SignalTable
from medvit.workspace import Workspace

TARGET_MS = 1000.0
NO_RIVAL = "none measured here"
READERS = 20
ROWS_AT_ONCE = 5000
ACTIONS = ("accept", "reject")

CHANGED = """before => {
  const first = document.querySelector(".mv-line")?.dataset.case ?? "none";
  return first !== before;
}"""
FIRST = """() => document.querySelector(".mv-line")?.dataset.case ?? "none" """


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=8, help="of each step in the browser")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="medvit-worklist-") as folder:
        workspace = Workspace(Path(folder) / "workspace")
        fill(workspace, given.cases)
        store_ms = time_store(workspace)
        with served(workspace) as url, browsing() as page:
            browser_ms = time_browser(page, url, given.rounds)
    every = [value for values in browser_ms.values() for value in values]
    claims = [
        Claim("worklist page, median", middle(every), "ms", NO_RIVAL, None, TARGET_MS, False),
        Claim("worklist page, slowest", max(every), "ms", NO_RIVAL, None, TARGET_MS, False),
        Claim("next case in the store", store_ms["next"], "ms CPU", NO_RIVAL, None, None, False),
    ]
    write_claims(
        "app_worklist",
        claims,
        cases=given.cases,
        browser_median_ms={name: middle(values) for name, values in browser_ms.items()},
        store_cpu_ms=store_ms,
    )


def fill(workspace: Workspace, cases: int) -> None:
    """Write cases, two signals for each, and as many decisions as cases."""
    workspace.prepare()
    with Store.open(workspace.store_url) as store:
        run_id = store.start_run("scan", {}, model="m@1", model_sha256="")
    rng, now = random.Random(5), utc_now()
    engine = writing(build_engine(workspace.store_url))
    for start in range(0, cases, ROWS_AT_ONCE):
        rows = [_case(number, run_id, now, rng) for number in range(start, start + ROWS_AT_ONCE)]
        ids = [str(row["case_id"]) for row in rows]
        with engine.begin() as connection:
            connection.execute(insert(CaseTable), rows)
            connection.execute(insert(SignalTable), [*_signals(ids, now, rng)])
            connection.execute(insert(DecisionTable), [_decision(name, now, rng) for name in ids])
    with engine.begin() as connection:
        connection.execute(text("ANALYZE"))
    engine.dispose()


def _case(number: int, run_id: int, now: datetime, rng: random.Random) -> dict[str, object]:
    source = f"line{number % 7}/part-{number:07d}.png"
    case = Case(f"im-{number:012d}", "image", source, Path("/data"), (Path("/data") / source,))
    result = CaseResult(case, "accept", "ok", "", "scratch", rng.random(), (), 0.1, 90.0)
    review = rng.choice(["new", "new", "reviewed"])
    return {
        **case_values(result, run_id=run_id, scanned_at=now),
        "n_findings": 1,
        "n_reviewed": int(review == "reviewed"),
        "top_probability": rng.random(),
        "review": review,
        "label_now": "scratch",
    }


def _signals(ids: Sequence[str], now: datetime, rng: random.Random) -> list[dict[str, object]]:
    return [
        {"case_id": name, "name": kind, "value": rng.random(), "reason": "Made.", "made_at": now}
        for name in ids
        for kind in ("uncertainty", "suspect_label")
    ]


def _decision(case_id: str, now: datetime, rng: random.Random) -> dict[str, object]:
    reader = f"reader {rng.randrange(READERS)}"
    row = {"case_id": case_id, "reader": reader, "action": rng.choice(ACTIONS)}
    return {**row, "label": "", "note": "", "decided_at": now, "seconds": 9 * rng.random()}


def time_store(workspace: Workspace) -> dict[str, float]:
    """Return the CPU time of each query behind the worklist, in ms."""
    uncertain = CaseFilter(queue="uncertain", reader="reader 1")
    with Store.open(workspace.store_url) as store:
        deep, _ = store.list_cases(replace(uncertain, reader=""), limit=1, offset=20_000)
        steps: dict[str, Callable[[], object]] = {
            "first page": store.list_cases,
            "page 1000": lambda: store.list_cases(offset=50_000),
            "queue": lambda: store.list_cases(CaseFilter(queue="uncertain")),
            "search": lambda: store.list_cases(CaseFilter(text="part-00999")),
            "lengths of queues": store.queue_lengths,
            "counts": store.count_cases,
            "next": lambda: store.next_case(uncertain, deep[0].case_id),
            "progress": lambda: store.reader_progress(since=datetime(2026, 1, 1, tzinfo=UTC)),
            "agreement": store.agreement,
            "log": store.list_audit,
        }
        return {name: _cpu_ms(step) for name, step in steps.items()}


def time_browser(page: Page, url: str, rounds: int) -> dict[str, list[float]]:
    """Return how long each step takes from the click to the new rows, in ms."""
    page.goto(url)
    page.locator(".mv-line").first.wait_for()
    search = page.get_by_label("Search")

    def find(what: str) -> None:
        search.fill(what)
        search.press("Enter")

    steps: dict[str, Callable[[int], None]] = {
        "next page": lambda _: page.get_by_role("button", name="Next page").click(),
        "queue": lambda n: _choose(page, ("Uncertain", "Likely label errors")[n % 2]),
        "search": lambda n: find(f"part-00{n + 10}"),
    }
    return {
        name: [_until_changed(page, lambda n=n, step=step: step(n)) for n in range(rounds)]  # type: ignore[misc]
        for name, step in steps.items()
    }


def middle(values: Sequence[float]) -> float:
    """Return the median, rounded."""
    return round(statistics.median(values), 1)


def _choose(page: Page, queue: str) -> None:
    page.get_by_role("radio").filter(has_text=queue).click()


def _until_changed(page: Page, step: Callable[[], None]) -> float:
    before = page.evaluate(FIRST)
    start = time.perf_counter()
    step()
    page.wait_for_function(CHANGED, arg=before)
    return round((time.perf_counter() - start) * 1e3, 1)


def _cpu_ms(step: Callable[[], object]) -> float:
    step()
    start = time.process_time()
    step()
    return round((time.process_time() - start) * 1e3, 2)


if __name__ == "__main__":
    main()
