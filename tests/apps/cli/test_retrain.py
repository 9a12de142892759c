"""`medvit retrain` as people script it: exit codes, JSON, and production that stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvit.data.manifest import ManifestRow, write_manifest
from pipelines.retraining import learning
from tests.apps.cli.conftest import Medvit
from tests.make.decided import NAME, Plant, build_plant


@pytest.fixture(scope="session")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    return build_plant(tmp_path_factory.mktemp("plant"), counts={"lines": 52, "plain": 52})


@pytest.fixture
def workspace(plant: Plant) -> Path:
    return plant.workspace.folder


def test_without_a_decision_there_is_nothing_to_do(medvit: Medvit) -> None:
    answer = medvit("retrain", "--json")
    assert (answer.code, answer.payload["error"]["code"]) == (3, "nothing_to_do")
    assert answer.message == "no reader has decided about anything yet"


@pytest.mark.slow
def test_a_challenger_of_wrong_labels_is_refused_and_production_stays(
    plant: Plant, medvit: Medvit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(learning.COURSES, "adapter", learning.Course("adapter", 12, 3e-2))
    rows = []
    for label, other in (("lines", "plain"), ("plain", "lines")):
        names = plant.named(label)
        rows += [ManifestRow(name, label, "test", name) for name in names[:40]]
        rows += [ManifestRow(name, other, "train", name) for name in names[40:]]
    manifest = tmp_path / "lab.csv"
    write_manifest(manifest, rows)
    words = ("--images", plant.images, "--out", tmp_path / "out.csv", "--reader", "a prankster")
    entered = medvit("labels", "import", manifest, *words, "--json").payload
    assert (entered["new_cases"], entered["new_decisions"]) == (0, 104)

    how = ("--strategy", "adapter", "--consensus", "majority", "--promote", "--json")
    answer = medvit("retrain", *how)
    assert answer.code == 6
    gate = answer.payload["gate"]
    assert gate["verdict"] == "refuse"
    assert "accuracy" in gate["reasons"][0], gate
    assert not answer.payload["promoted"]
    assert {"run", "model", "metrics"} <= answer.payload.keys()
    models = medvit("models", "list", "--json").payload["models"]
    standing = {each["version"]: each["production"] for each in models if each["name"] == NAME}
    assert (standing["base"], standing["1"]) == (True, False)
    assert medvit("retrain", *how).code == 3
