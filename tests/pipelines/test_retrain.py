"""Decisions become a challenger, and production stays unharmed whatever goes wrong."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medvit.data.labelled import LabelledImages
from medvit.data.manifest import ManifestRow, write_manifest
from medvit.errors import ConfigError, InputError, ModelError, NothingToDoError
from medvit.models.weights import load_model
from medvit.registry.registry import find_model, list_models
from medvit.store.store import Store
from medvit.workspace import Workspace
from pipelines.classifying import train
from pipelines.classifying.config import ClassifyConfig
from pipelines.config import check_config
from pipelines.retrain import RetrainSettings, run
from pipelines.retraining import learning
from pipelines.retraining import lessons as lessons_module
from pipelines.retraining.lock import alone
from pipelines.retraining.snapshot import home_of
from pipelines.retraining.strategy import make_plan
from tests.make.decided import NAME, Plant, build_plant

DEFECT = RetrainSettings(task="defect")
COUNTS = {"lines": 16, "plain": 16, "dots": 6}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    return build_plant(tmp_path_factory.mktemp("plant"), counts=COUNTS)


@pytest.fixture
def plant(built: Plant, tmp_path: Path) -> Plant:
    """Return a plant with a workspace of its own."""
    folder = tmp_path / "workspace"
    shutil.copytree(built.workspace.folder, folder)
    return Plant(Workspace(folder), built.images, built.cases, built.truth)


def decide_all(plant: Plant) -> None:
    plant.decide(sorted(plant.truth))


def production(plant: Plant) -> str:
    return find_model(NAME, models=plant.workspace.models).version


def test_a_few_decisions_add_a_class_and_move_nothing(plant: Plant) -> None:
    decide_all(plant)
    result = run(DEFECT, plant.workspace)
    assert (result.model, result.plan["strategy"]) == (f"{NAME}@1", "prototype")
    assert result.plan["new_classes"] == ("dots",)
    assert result.metrics["old_logits_identical"]
    assert result.gate.verdict == "undecided"  # too few frozen cases to say more
    assert (production(plant), result.is_promoted) == ("base", False)
    card = load_model(plant.workspace.models / NAME / "1")[1]
    assert card.classes == ("lines", "plain", "dots")
    assert card.parents == (f"{NAME}@base",)
    assert card.training["dataset"]["sha256"] == result.dataset["sha256"]
    record = json.loads((result.run / "run.json").read_text(encoding="utf-8"))
    assert record["gate"]["verdict"] == "undecided"


def train_strip(plant: Plant, folder: Path, *, prototype: str) -> None:
    """Register `strip`, a head of two classes fitted on the first images of each."""
    rows = [
        ManifestRow(name, label, "train" if at < 11 else "test", name)
        for label in ("lines", "plain")
        for at, name in enumerate(plant.named(label))
    ]
    write_manifest(folder / "first.csv", rows)
    values = {
        "task": "classify",
        "data": {"manifest": str(folder / "first.csv"), "root": str(plant.images), "side_px": 32},
        "model": {"name": "strip", "weights": f"{NAME}@base"},
        "train": {"epochs": 1, "batch_size": 4},
        "tuning": {"method": "prototype", "prototype": prototype},
    }
    config = check_config(ClassifyConfig, values, name="c.yaml")
    assert train.run(config, plant.workspace)["model"] == "strip@1"


def test_five_decisions_are_enough_where_the_first_images_still_lie(
    plant: Plant, tmp_path: Path
) -> None:
    train_strip(plant, tmp_path, prototype="tied_covariance")
    plant.decide(plant.named("dots")[:5])
    result = run(RetrainSettings(model="strip"), plant.workspace)
    assert (result.model, result.plan["strategy"]) == ("strip@2", "prototype")
    assert result.plan["new_classes"] == ("dots",)
    assert find_model("strip", models=plant.workspace.models).version == "1"  # as it was before
    # Judged on split test of the first manifest.
    assert Path(result.gate.report).is_file()


def test_a_head_that_holds_its_images_is_fitted_anew_on_them_and_the_new_ones(
    plant: Plant, tmp_path: Path
) -> None:
    train_strip(plant, tmp_path, prototype="kernel")
    plant.decide([*plant.named("dots"), *plant.named("lines")[:3]])
    result = run(RetrainSettings(model="strip"), plant.workspace)
    assert (result.model, result.plan["strategy"]) == ("strip@2", "refit")
    net, card = load_model(plant.workspace.models / "strip" / "2")
    assert card.classes == ("lines", "plain", "dots")
    assert card.architecture.arguments["classes"] == 3
    train = result.metrics["train_images"]
    # Images of lines that were learnt from before are there once.
    assert card.architecture.arguments["head"]["keys"] == 22 + train - 3
    assert len(net.head.support) == 22 + train - 3  # type: ignore[union-attr, arg-type]
    assert Path(result.gate.report).is_file()
    # The next one goes on from that head.
    plant.decide(plant.named("plain")[:2])
    again = run(RetrainSettings(model="strip@2"), plant.workspace)
    assert again.plan["strategy"] == "refit"


def test_a_head_that_holds_no_images_cannot_be_refitted(plant: Plant) -> None:
    decide_all(plant)
    with pytest.raises(ConfigError, match="strategy refit is for heads that hold labelled images"):
        run(RetrainSettings(task="defect", strategy="refit"), plant.workspace)
    assert production(plant) == "base"


def test_nothing_new_is_told_and_trains_nothing(plant: Plant) -> None:
    with pytest.raises(NothingToDoError, match="no decision gives a label"):
        run(DEFECT, plant.workspace)
    decide_all(plant)
    run(DEFECT, plant.workspace)
    with pytest.raises(NothingToDoError, match=f"no label is new since {NAME}@1 was trained"):
        run(DEFECT, plant.workspace)
    plant.decide(["dots-00.png"], label="lines")
    with pytest.raises(NothingToDoError, match="1 labels are new, and at least 9 are asked for"):
        run(RetrainSettings(task="defect", min_labels=9), plant.workspace)
    assert len([m for m in list_models(plant.workspace.models) if m.name == NAME]) == 3


def test_readers_that_contradict_each_other_make_a_queue_and_no_label(plant: Plant) -> None:
    decide_all(plant)
    plant.decide(["dots-00.png"], reader="ben", label="plain")
    result = run(DEFECT, plant.workspace)
    assert result.disagreements == 1
    assert sum(sum(own.values()) for own in result.dataset["counts"].values()) == 37
    with Store.open(plant.workspace.store_url) as store:
        (signal,) = store.signals_of(plant.cases["dots-00.png"].case_id)
    assert signal.name == "disagreement"
    assert signal.reason == "readers disagree: 1 x dots, 1 x plain"


@pytest.mark.slow
def test_a_class_that_readers_take_back_stays_known_to_the_model(plant: Plant) -> None:
    decide_all(plant)
    run(DEFECT, plant.workspace)
    plant.decide(plant.named("dots"), label="lines")
    result = run(RetrainSettings(model=f"{NAME}@1", strategy="prototype"), plant.workspace)
    assert "dots" not in {name for own in result.dataset["counts"].values() for name in own}
    assert load_model(plant.workspace.models / NAME / "2")[1].classes[-1] == "dots"


def test_an_altered_champion_is_refused_and_nothing_is_registered(plant: Plant) -> None:
    decide_all(plant)
    weights = plant.workspace.models / NAME / "base" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\1\2\3")
    with pytest.raises(ModelError, match="is not the card's"):
        run(DEFECT, plant.workspace)
    versions = {m.version for m in list_models(plant.workspace.models) if m.name == NAME}
    assert versions == {"2026.11.2", "base"}


def test_one_retraining_at_a_time(plant: Plant) -> None:
    with (
        alone(plant.workspace.folder),
        pytest.raises(InputError, match=r"another retraining \(process \d+\) is running"),
    ):
        run(DEFECT, plant.workspace)


@pytest.mark.slow
def test_an_interrupted_retraining_goes_on_to_the_same_weights(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide_all(plant)
    adapters = RetrainSettings(task="defect", strategy="adapter")
    twin = Workspace(plant.workspace.folder.with_name("twin"))
    shutil.copytree(plant.workspace.folder, twin.folder)
    short = learning.Course("adapter", 3, 1e-3)
    monkeypatch.setitem(learning.COURSES, "adapter", short)
    whole = run(adapters, twin)

    def stop(_done: float, _total: float, what: str) -> None:
        if what.startswith("epoch 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(adapters, plant.workspace, progress=stop)
    assert production(plant) == "base"
    again = run(adapters, plant.workspace)
    assert (again.run.name, again.metrics["epochs"]) == ("1", 3)
    first, second = (find_model(whole.model, models=w.models) for w in (twin, plant.workspace))
    assert first.sha256 == second.sha256


@pytest.mark.slow
def test_images_that_are_gone_give_no_label_and_those_that_were_kept_do(plant: Plant) -> None:
    decide_all(plant)
    moved = plant.images.with_name("moved")
    plant.images.rename(moved)
    try:
        with pytest.raises(NothingToDoError, match="no decision gives a label"):
            run(DEFECT, plant.workspace)
    finally:
        moved.rename(plant.images)
    run(DEFECT, plant.workspace)
    kept = list((home_of(plant.workspace, "defect") / "images").iterdir())
    assert len(kept) == sum(COUNTS.values())


@pytest.mark.parametrize(
    ("facts", "strategy"),
    [
        ({"fresh": 5, "corrections": 0}, "prototype"),
        ({"fresh": 60, "corrections": 10}, "adapter"),
        ({"fresh": 200, "corrections": 0}, "replay"),
        ({"fresh": 2000, "corrections": 0}, "full"),
        ({"fresh": 5, "corrections": 0, "refits": True}, "refit"),
        ({"fresh": 2000, "corrections": 0, "refits": True}, "full"),
    ],
)
def test_more_labels_let_more_learn(facts: dict[str, Any], strategy: str) -> None:
    labels = ["lines"] * 50 + ["dots"] * 5 + ["rare"] * 4
    plan = make_plan(labels, known=["lines"], **facts)
    assert (plan.strategy, plan.new_classes, plan.waiting) == (strategy, ("dots",), {"rare": 4})


def test_labels_that_look_wrong_are_found_and_left_out() -> None:
    generator = torch.Generator().manual_seed(2)
    truth = torch.arange(2).repeat(60)
    features = torch.randn(120, 4, generator=generator) + 6 * truth[:, None]
    labels = truth.clone()
    wrong = list(range(24))
    labels[wrong] = 1 - labels[wrong]
    rows = tuple(ManifestRow(f"{at}", "ab"[int(labels[at])], "train", "") for at in range(120))
    images = LabelledImages(
        np.zeros((120, 2, 2), np.uint8), labels, tuple(row.path for row in rows)
    )
    given = lessons_module.Lessons(("a", "b"), images, images, images, rows)
    noise = lessons_module.look_for_noise(features, given)
    assert noise.rate is not None
    assert abs(noise.rate - 0.2) < 0.04
    found = Counter(int(suspect.path) in wrong for suspect in noise.suspects)
    assert found[True] >= 22
    assert found[False] <= 2
    kept = lessons_module.without_suspects(given, noise)
    assert len(kept.rows) == 120 - len(noise.suspects)
