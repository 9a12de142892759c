"""Operations of the registry with 1,000 versions of one name, whose weights are of real size.

    python benchmarks/registry.py

Versions have the card of the shipped steel model, with all its figures, and share its weights.
Medians of the clock and of processor time; what another process does to the machine shows in the
first alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from claims import Claim, write_claims

from medvit.models.card import CARD_FILE, WEIGHTS_FILE, read_card
from medvit.registry.index import INDEX_FILE
from medvit.registry.integrity import verify
from medvit.registry.production import history, promote, rollback
from medvit.registry.registry import SHIPPED, find_model, list_models
from medvit.registry.sweeping import sweep

NAME = "steel-defects"
VERSIONS = 1000
ROUNDS = 9
TARGET_MS = 100.0


def fill(models: Path, count: int) -> None:
    """Write versions 1 to `count`; weights are one file under many names."""
    shipped = SHIPPED / NAME
    card = read_card(shipped)
    first = models / NAME / "1" / WEIGHTS_FILE
    for number in range(1, count + 1):
        folder = models / NAME / str(number)
        folder.mkdir(parents=True)
        own = card.model_copy(update={"version": str(number), "parents": ()})
        (folder / CARD_FILE).write_text(own.model_dump_json(indent=2), encoding="utf-8")
        if number == 1:
            first.write_bytes((shipped / WEIGHTS_FILE).read_bytes())
        else:
            (folder / WEIGHTS_FILE).hardlink_to(first)


def measure(name: str, job: Callable[[], Any], *, before: Callable[[], Any]) -> Claim:
    """Return the median time of a job in ms; `before` is not timed."""
    wall, processor = [], []
    for _ in range(ROUNDS):
        before()
        start = time.perf_counter(), time.process_time()
        job()
        wall.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    busy_ms = 1000 * statistics.median(processor)
    print(f"{name}: {busy_ms:.1f} ms of processor time")
    value = round(1000 * statistics.median(wall), 1)
    return Claim(name, value, "ms", "none", None, TARGET_MS, larger_is_better=False)


def claims_of(models: Path) -> list[Claim]:
    """Measure every operation once the index is there, and the list without it."""
    moves = {"at": 1}

    def up() -> None:
        moves["at"] += 1
        promote(models, NAME, str(moves["at"]), by="benchmark", reason="")

    def down() -> None:
        rollback(models, NAME, by="benchmark", reason="")

    def touch() -> None:
        os.utime(models / NAME / "7" / CARD_FILE)

    def nothing() -> None:
        return

    list_models(models)
    found = [
        measure("list", lambda: list_models(models), before=nothing),
        measure("list after one card changed", lambda: list_models(models), before=touch),
        measure("find by name", lambda: find_model(NAME, models=models), before=nothing),
        measure("promote", up, before=nothing),
        measure("rollback", down, before=up),
        measure("history", lambda: history(models), before=nothing),
        measure("verify one version", lambda: verify(models, f"{NAME}@9"), before=nothing),
    ]
    rules: dict[str, Any] = {"referred": (), "older_than_days": 0, "dry": True}
    slow = measure("gc, telling alone", lambda: sweep(models, **rules), before=nothing)
    anew = measure(
        "list without an index",
        lambda: list_models(models),
        before=(models / INDEX_FILE).unlink,
    )
    return [*found, *(replace(each, target=None) for each in (slow, anew))]


def main() -> None:
    """Fill a registry, measure, and write the claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=VERSIONS)
    count = parser.parse_args().versions
    with tempfile.TemporaryDirectory() as place:
        fill(Path(place), count)
        claims = claims_of(Path(place))
    write_claims("registry", claims, versions=count)


if __name__ == "__main__":
    main()
