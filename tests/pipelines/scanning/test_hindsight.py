"""What is told after a scan: drift against the model's own images, and whom to ask about first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medvit.findings.finding import CaseResult
from medvit.io.case import Case
from medvit.store.rows import Decision
from medvit.store.store import Store
from medvit.trust import drift
from medvit.trust.ood import KnownLooks
from pipelines.scanning.detectors import Detector
from pipelines.scanning.hindsight import doubt_of, look_back, notes_of
from pipelines.scanning.journal import Entry
from tests.make.detectors import detector_of_images


@pytest.fixture(autouse=True)
def few_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "PERMUTATIONS", 99)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


def detector() -> Detector:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 5))
    looks = KnownLooks.of(x, np.arange(100) % 2, rng.normal(size=(80, 5)))
    return detector_of_images(looks=looks)


def entries(
    store: Store, count: int, *, shift: float = 0.0, folder: str = "day", seed: int = 1
) -> list[Entry]:
    rng = np.random.default_rng(seed)
    run = store.start_run("scan", {}, model="net@1", model_sha256="")
    made = []
    for number in range(count):
        source = f"{folder}/{number:03d}.png"
        root = Path("/in")
        case = Case(f"im-{folder}-{number:03d}", "image", source, root, (root / source,))
        result = CaseResult(case, "accept", "ok", "", "a", 0.9, (), 0.1, 1.0)
        store.save_result(run, result)
        made.append(Entry(result, {}, {}, tuple(rng.normal(size=5) + shift)))
    return made


def told(tmp_path: Path, number: int, found: dict[str, Any]) -> Path:
    """Leave a run behind as a scan does, and return the folder of the next."""
    for each in (number, number + 1):
        (tmp_path / "runs" / str(each)).mkdir(parents=True, exist_ok=True)
    file = tmp_path / "runs" / str(number) / "run.json"
    file.write_text(json.dumps({"drift": found}), encoding="utf-8")
    return tmp_path / "runs" / str(number + 1)


def test_the_second_run_that_differs_is_an_alarm(store: Store, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "1"
    run.mkdir(parents=True)
    made = entries(store, 21, shift=2.0)
    first = look_back(made, detector(), store=store, run=run)
    assert (first["alarm"], set(first["shifted"])) == (False, {"components", "cloud"})
    assert first["effect_sd"] > 1.0
    assert len(first["examples"]) == 10
    assert "in this run alone so far" in notes_of(first)[0]
    run = told(tmp_path, 1, first)
    again = look_back(made, detector(), store=store, run=run)
    assert not again["alarm"]  # the same cases once more
    second = look_back(made[1:], detector(), store=store, run=run)
    assert second["alarm"]
    assert "Alarm: its probabilities may no longer hold" in notes_of(second)[0]
    drifted = [s for s in store.signals_of(second["examples"][0]) if s.name == "drift"]
    assert "standard deviations out" in drifted[0].reason
    other = told(tmp_path, 1, {**first, "model": "another@1"})
    assert not look_back(made[1:], detector(), store=store, run=other)["alarm"]


def test_images_like_the_known_ones_are_no_drift(store: Store, tmp_path: Path) -> None:
    run = tmp_path / "1"
    run.mkdir()
    made = entries(store, 20)
    found = look_back(made, detector(), store=store, run=run)
    assert (found["shifted"], found["examples"], notes_of(found)) == ([], [], ())
    few = look_back(made[:19], detector(), store=store, run=run)
    assert few == {"model": "net@1", "n": 19, "needs": 20}
    assert look_back(made, None, store=store, run=run) == {}


def test_images_of_one_part_count_once(store: Store, tmp_path: Path) -> None:
    run = tmp_path / "1"
    run.mkdir()
    parts = [e for k in range(20) for e in entries(store, 2, folder=f"part-{k}", seed=k)]
    assert look_back(parts, detector(), store=store, run=run)["n"] == 20


def test_the_doubtful_case_comes_first_and_the_reviewed_one_not_at_all(
    store: Store, tmp_path: Path
) -> None:
    made = entries(store, 6)
    unsure = replace(made[4].result, probability=0.5)
    made[4] = replace(made[4], result=unsure)
    store.save_result(1, unsure)
    done = made[2].result.case.case_id
    store.decide(Decision(done, None, "accept", "ann"))
    look_back(made, None, store=store, run=tmp_path)
    own = {
        entry.result.case.case_id: [
            s for s in store.signals_of(entry.result.case.case_id) if s.name == "priority"
        ]
        for entry in made
    }
    assert own.pop(done) == []
    values = {case_id: signals[0].value for case_id, signals in own.items()}
    assert max(values, key=lambda case_id: values[case_id]) == unsure.case.case_id
    assert "the model is unsure" in own[unsure.case.case_id][0].reason


def test_doubt_by_hand() -> None:
    case = Case("im-1", "image", "a.png", Path("/in"), ())
    result = CaseResult(case, "accept", "ok", "", "a", 0.75, (), 0.1, 1.0)
    assert doubt_of(result) == 0.5
    assert doubt_of(replace(result, probability=0.3)) == 1.0
    assert doubt_of(replace(result, probability=None)) == 0.0
