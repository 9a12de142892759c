"""The loop closes for boxes: scan, decisions, challenger, gate, production."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from medvit.data.labels.label_set import Box
from medvit.labels.places import BOX, is_same_place
from medvit.models.weights import load_model
from medvit.registry.production import history
from medvit.registry.registry import find_model
from medvit.store.rows import Action, Decision
from medvit.store.store import Store
from medvit.workspace import Workspace
from pipelines import scan, train
from pipelines.models import CompareSettings, compare_models
from pipelines.retrain import RetrainSettings, run
from pipelines.retraining import box_learning
from tests.make.spots import write_spots

NAME = "spots"


def first_training(folder: Path, workspace: Workspace) -> None:
    """Train a detector that hardly knows its classes."""
    write_spots(folder, count=30, seed=1, split=("train", "train", "val"))
    given = (
        *(f"data.annotations={folder / 'coco.json'}", f"data.manifest={folder / 'manifest.csv'}"),
        *("data.side_px=64", f"model.name={NAME}", "model.width=16", "model.levels=2"),
        *("train.epochs=15", "train.lr=4e-3", "train.batch_size=10", "train.ema_decay=0.5"),
        *("train.validate_every=15", "train.precision=32-true"),
    )
    assert train.run(train.load("train/detect_defects", given), workspace)["model"] == f"{NAME}@1"


def review(workspace: Workspace, truth: dict[str, tuple[Box, ...]]) -> Counter[str]:
    """Let a reader accept what is there, reject what is not, and add what is missing."""
    done: Counter[str] = Counter()
    with Store.open(workspace.store_url) as store:
        for case in store.list_cases(limit=100)[0]:
            missing = list(truth[case.source])
            for row in store.list_findings(case.case_id):
                found = row.finding
                place = {name: float(getattr(found, name)) for name in BOX}
                hit = next((b for b in missing if is_hit(b, place, found.label)), None)
                action: Action = "reject" if hit is None else "accept"
                if hit is not None:
                    missing.remove(hit)
                store.decide(Decision(case.case_id, found.finding_id, action, "ann"))
                done[action] += 1
            for box in missing:
                added = Decision(
                    case.case_id, None, "add", "ann", label=box.label, geometry=place_of(box)
                )
                store.decide(added)
                done["add"] += 1
    return done


def is_hit(box: Box, place: dict[str, float], label: str) -> bool:
    return box.label == label and is_same_place(place_of(box), place)


def place_of(box: Box) -> dict[str, float]:
    return dict(zip(BOX, (box.x_min, box.y_min, box.x_max, box.y_max), strict=True))


@pytest.mark.slow
def test_decisions_about_boxes_become_a_detector_that_is_promoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(box_learning.COURSES, "replay", box_learning.BoxCourse(80, 2e-3, 1.0))
    workspace = Workspace(tmp_path / "w")
    first_training(tmp_path / "first", workspace)
    truth = write_spots(tmp_path / "line", count=72, seed=2)
    settings = scan.ScanSettings(sources=(tmp_path / "line",), out=tmp_path / "out", model=NAME)
    scan.run(settings, workspace=workspace)
    done = review(workspace, truth)
    assert done["accept"] + done["add"] == 4 * 72
    assert min(done["accept"], done["reject"], done["add"]) > 0
    asked = RetrainSettings(model=NAME, strategy="replay", promote=True)
    result = run(asked, workspace)
    assert result.model == f"{NAME}@2"
    assert result.new_labels == 72
    assert result.metrics["hard_negatives"] == done["reject"]
    assert result.metrics["train_images"] == result.metrics["reviewed_images"] + 20
    assert {*result.metrics["forgetting"]} == {"bright", "dark"}
    figures = json.loads((result.run / "gate" / "gate.json").read_text())
    assert figures["primary"]["name"] == "mAP50"
    assert figures["cases"] == result.metrics["n"]
    assert figures["primary"]["cases"] == 4 * result.metrics["n"]
    assert (result.gate.verdict, result.gate.reasons[0][:15]) == ("promote", "better on mAP50")
    assert result.gate.warnings == ()  # both tell what they saw, and it is not frozen
    assert result.is_promoted
    changes = history(workspace.models, NAME)
    assert [(each.from_version, each.to_version) for each in changes] == [("1", "1"), ("1", "2")]
    found = find_model(NAME, models=workspace.models)
    assert (found.version, found.production) == ("2", True)
    _, card = load_model(found.folder)
    assert card.parents == (f"{NAME}@1",)
    assert card.thresholds.keys() == {"bright", "dark"}
    assert card.preprocessing["image_px"] == 64

    first = tmp_path / "first"
    asked_again = CompareSettings(
        champion=f"{NAME}@1",
        challenger=f"{NAME}@2",
        manifest=first / "manifest.csv",
        annotations=first / "coco.json",
        split="val",
    )
    compared = compare_models(asked_again, workspace=workspace)
    assert (compared["primary"]["name"], compared["primary"]["cases"]) == ("mAP50", 40)
    assert compared["primary"]["difference"]["value"] > 0.2
