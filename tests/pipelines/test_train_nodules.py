from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from medvit.errors import ConfigError
from medvit.learn.fit import EpochReport
from medvit.registry.registry import find_model
from medvit.workspace import Workspace
from pipelines import train
from pipelines.config import find_config
from tests.make.dicom import write_series

TINY = [
    "data.phantoms=1",
    "data.validation_phantoms=0",
    "model.width=8",
    "train.epochs=1",
    "train.crops_per_epoch=2",
    "train.batch_size=2",
    "train.crop_side=32",
    "train.workers=0",
]


def test_the_shipped_config_is_whole() -> None:
    config = train.load("train/nodule_phantom")
    assert config.model_dump()["task"] == "detect"
    assert find_config("train/nodule_phantom").is_file()


def test_a_misspelt_key_gets_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'train\.epoch'") as error:
        train.load("train/nodule_phantom", ["train.epoch=3"])
    assert "did you mean 'epochs'?" in error.value.hint


def test_a_scan_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_series(tmp_path / "data" / "one")
    (tmp_path / "data" / "two").mkdir()
    root = [f"data.root={tmp_path / 'data'}", "data.scans=[{source: two}]"]
    config = train.load("train/nodule_phantom", [*TINY, *root, "data.phantoms=1"])
    cached = Workspace(tmp_path / "workspace")
    with pytest.raises(ConfigError, match="two: one CT series expected, 0 found"):
        train.run(config, cached)


@pytest.mark.slow
def test_a_training_leaves_a_model_that_a_scan_can_use(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    answer = train.run(train.load("train/nodule_phantom", TINY), workspace)
    model = find_model(answer["model"], task="nodule", models=workspace.models)
    assert model.reference == "nodule-swin3d@1"
    record = json.loads((Path(answer["run"]) / "run.json").read_text(encoding="utf-8"))
    assert record["model_sha256"] == model.sha256
    assert record["counts"] == {"phantoms": 1, "crops": 2}
    assert "# nodule-swin3d@1" in (model.folder / "README.md").read_text(encoding="utf-8")


COARSE_TO_FINE = (
    "train.progressive=[{spacing_mm: 2.0, share: 0.5, side: 32}, {spacing_mm: 1.0, share: 0.5}]"
)


@pytest.mark.slow
def test_an_interruption_at_the_change_of_phase_changes_no_loss(tmp_path: Path) -> None:
    config = train.load("train/nodule_phantom", [*TINY, "train.epochs=2", COARSE_TO_FINE])
    cache = tmp_path / "whole" / "cache"
    losses: dict[str, list[float]] = {"whole": [], "parts": []}

    def interrupt(report: EpochReport) -> None:
        if report.epoch == 2:  # the first fine one; the coarse one is kept
            raise KeyboardInterrupt

    train.run(
        config,
        Workspace(tmp_path / "whole"),
        progress=lambda report: losses["whole"].append(report.loss),
    )
    shutil.copytree(cache, tmp_path / "parts" / "cache")
    with pytest.raises(KeyboardInterrupt):
        train.run(config, Workspace(tmp_path / "parts"), progress=interrupt)
    train.run(
        config,
        Workspace(tmp_path / "parts"),
        progress=lambda report: losses["parts"].append(report.loss),
    )
    assert losses["parts"] == losses["whole"][1:]
    assert losses["whole"][0] != losses["whole"][1]
