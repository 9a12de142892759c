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
from pipelines.nodules.config import NoduleConfig
from pipelines.nodules.train import build_detector
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


def nodules(words: list[str]) -> NoduleConfig:
    config = train.load("train/nodule_phantom", [*TINY, *words])
    assert isinstance(config, NoduleConfig)
    return config


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


@pytest.mark.parametrize(
    ("weights", "merging"), [("swin.pt", "null"), ("none", "1.5"), ("nodule-swin3d", "v2")]
)
def test_a_file_of_weights_and_its_order_of_merging_go_together(weights: str, merging: str) -> None:
    words = [f"model.weights={weights}", f"model.merging='{merging}'"]
    with pytest.raises(ConfigError, match=f"model.weights={weights}"):
        nodules(words if merging != "null" else words[:1])


def test_the_shipped_detector_can_start_one_with_a_second_look(tmp_path: Path) -> None:
    words = ["model.weights=nodule-swin3d", "model.width=32", "model.reduction=true"]
    config = nodules(words)
    detector, parents = build_detector(config, Workspace(tmp_path))
    assert [name.partition("@")[0] for name in parents] == ["nodule-swin3d"]
    assert config.model.architecture["reduction"] is True
    plain, _ = build_detector(nodules(words[:2]), Workspace(tmp_path))
    assert plain.reduction is None
    names = set(detector.state_dict()) - set(plain.state_dict())
    assert {name.split(".")[0] for name in names} == {"reduction"}
    assert detector.state_dict()["head.1.bias"].equal(plain.state_dict()["head.1.bias"])


@pytest.mark.slow
def test_training_starts_from_a_file_of_monai_s_encoder(tmp_path: Path) -> None:
    import torch
    from monai.networks.nets.swin_unetr import SwinTransformer

    theirs = SwinTransformer(1, 48, (7, 7, 7), (2, 2, 2), (2, 2, 2, 2), (3, 6, 12, 24))
    named = {f"module.{name}": value for name, value in theirs.state_dict().items()}
    torch.save({"state_dict": named}, tmp_path / "swin.pt")
    words = [f"model.weights={tmp_path / 'swin.pt'}", "model.merging='1.5'"]
    workspace = Workspace(tmp_path / "workspace")
    with pytest.raises(ConfigError, match="is for a 3D Swin, but segresnet_small is none"):
        build_detector(nodules([*words, "model.backbone=segresnet_small"]), workspace)
    config = nodules([*words, "model.backbone=swin3d_base"])
    detector, parents = build_detector(config, workspace)
    assert parents == ("swin.pt",)
    ours = detector.state_dict()["backbone.patch_embed.weight"]
    assert torch.equal(ours, theirs.patch_embed.proj.weight)
    assert config.model.architecture["merging"] == "1.5"


@pytest.mark.slow
def test_a_training_leaves_a_model_that_a_scan_can_use(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    answer = train.run(train.load("train/nodule_phantom", TINY), workspace)
    model = find_model(answer["model"], task="nodule", models=workspace.models)
    assert model.reference == "nodule-swin3d@1"
    record = json.loads((Path(answer["run"]) / "run.json").read_text(encoding="utf-8"))
    assert record["model_sha256"] == model.sha256
    assert record["counts"] == {"phantoms": 1, "scans": 0, "crops": 2}
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
