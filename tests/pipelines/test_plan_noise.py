"""A plan for labels of which some are wrong, from images to a config that trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from medvit.data.manifest import read_manifest, write_manifest
from medvit.workspace import Workspace
from pipelines import train
from pipelines.classifying.config import ClassifyConfig
from pipelines.plan import PlanSettings, run
from tests.make.surface import CLASSES, write_surface_set


def test_wrong_labels_are_measured_and_planned_for(tmp_path: Path) -> None:
    file = write_surface_set(tmp_path, per_split={"train": 20, "test": 2})
    names = sorted(CLASSES)
    rows = []
    for number, row in enumerate(read_manifest(file).rows):
        wrong = row.split == "train" and number % 5 == 0
        label = names[(names.index(row.label) + 1) % 3] if wrong else row.label
        rows.append(replace(row, label=label))
    write_manifest(file, rows)
    out = tmp_path / "plan.yaml"
    plan = run(PlanSettings(source=file, out=out), Workspace(tmp_path / "w"))
    noise = plan.fingerprint.noise
    assert noise is not None
    assert noise.low < 0.2 < noise.high
    assert any("medvit labels suspects" in note for note in plan.notes)
    config = train.load(out)
    assert isinstance(config, ClassifyConfig)
    assert config.noise.method == "prune"
    assert config.noise.rate == round(noise.rate, 3)
