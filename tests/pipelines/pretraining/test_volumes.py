"""Pretraining on volumes: what it reads, leaves out, and how it goes on when killed."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medvit.errors import ConfigError
from medvit.registry.registry import find_model
from medvit.workspace import Workspace
from pipelines import pretrain, train
from pipelines.pretraining.volume_config import VolumePretrainConfig
from pipelines.training.weights import find_weights
from tests.make.chest import make_chest
from tests.make.dicom import CtSeries, write_series

TINY = [
    "data.spacing_mm=4",
    "data.side=32",
    "train.epochs=4",
    "train.patches_per_epoch=6",
    "train.batch_size=2",
    "train.warmup_epochs=1",
    "train.workers=0",
]


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two chests, a scan of three slices, and a single slice."""
    folder = tmp_path_factory.mktemp("scans")
    for number, (depth, z_mm) in enumerate(((30, 8.0), (24, 10.0), (3, 8.0), (1, 8.0))):
        hu = make_chest((depth, 40, 48)).read_all().astype(np.int16)
        series = CtSeries(hu=hu, spacing_mm=(z_mm, 7.0, 8.0), series_uid=f"1.2.3.{number}")
        write_series(folder / f"ct-{number}", series)
    return folder


def load(scans: Path, *overrides: str) -> VolumePretrainConfig:
    config = pretrain.load(
        "pretrain/swin3d_ct", [*TINY, f"data.root={scans}", "model.name=start", *overrides]
    )
    assert isinstance(config, VolumePretrainConfig)
    return config


def test_the_shipped_config_is_whole() -> None:
    config = pretrain.load("pretrain/swin3d_ct")
    assert isinstance(config, VolumePretrainConfig)
    assert config.pretrain.method == "swin_ssl"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "pretrain.method=swin_sll",
            "must be one of simclr, moco_v3, mae, swin_ssl, got 'swin_sll'",
        ),
        ("pretrain.noise_share=0.8", "at most 0.9 together, got 0.8 and 0.3"),
        ("data.high_hu=-1010", "above low_hu, got -1010 and -1000 HU"),
        ("train.patches_per_epoch=3", "patches_per_epoch=3 is less than one step's 4"),
        ("train.batch_size=1", "greater than or equal to 2"),
        ("data.side=48", "multiple of 32"),
        ("train.progressive=[{spacing_mm: 2.0, share: 1.0}]", "must have 1 mm, got 2 mm"),
    ],
)
def test_settings_that_cannot_work_are_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pretrain.load("pretrain/swin3d_ct", [override])


def test_patches_too_small_for_the_encoder_are_refused(scans: Path, tmp_path: Path) -> None:
    config = load(scans, "model.backbone=swin3d_base")
    with pytest.raises(ConfigError, match="swin3d_base needs patches of 64 voxels, got 32"):
        pretrain.run(config, Workspace(tmp_path))


def test_a_folder_without_a_usable_scan_says_why(scans: Path, tmp_path: Path) -> None:
    shutil.copytree(scans / "ct-3", tmp_path / "lone")
    with pytest.raises(ConfigError, match="none of 1 CT cases can be trained on") as error:
        pretrain.run(load(tmp_path / "lone"), Workspace(tmp_path / "workspace"))
    assert "found 1" in error.value.hint
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        pretrain.run(load(tmp_path / "nowhere"), Workspace(tmp_path / "workspace"))


@pytest.mark.slow
def test_it_leaves_an_encoder_that_the_nodule_training_starts_from(
    scans: Path, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path)
    answer = pretrain.run(load(scans, "train.epochs=1"), workspace)
    model = find_model("start", task="backbone", models=workspace.models)
    assert answer["model"] == model.reference == "start@1"
    with (Path(answer["run"]) / "cases.csv").open(encoding="utf-8") as stream:
        rows = {row["source"]: (row["used"], row["reason"]) for row in csv.DictReader(stream)}
    assert rows == {
        "ct-0": ("yes", ""),
        "ct-1": ("yes", ""),
        "ct-2": ("no", "too_small"),
        "ct-3": ("no", "too_few_slices"),
    }
    record = json.loads((Path(answer["run"]) / "run.json").read_text(encoding="utf-8"))
    assert record["counts"] == {"scans": 2, "left_out": 2, "patches": 6}
    assert list((Path(answer["run"]) / "tensorboard").iterdir())
    _check_start(workspace)


def _check_start(workspace: Workspace) -> None:
    from pipelines.nodules.config import NoduleConfig
    from pipelines.nodules.train import build_detector

    config = train.load("train/nodule_phantom", ["model.weights=start", "model.width=8"])
    assert isinstance(config, NoduleConfig)
    detector, parents = build_detector(config, workspace)
    encoder, card = find_weights("start", workspace)
    assert parents == (card.reference,)
    own = detector.get_submodule("backbone").state_dict()
    assert all(torch.equal(own[name], value) for name, value in encoder.state_dict().items())


def command(scans: Path, workspace: Path, *overrides: str) -> list[str]:
    words = [*TINY, f"data.root={scans}", "model.name=start", *overrides]
    start = [sys.executable, "-m", "apps.cli", "pretrain", "pretrain/swin3d_ct"]
    return [*start, *words, "--workspace", str(workspace), "--json", "--quiet"]


def metrics_of(words: list[str]) -> dict[str, Any]:
    done = subprocess.run(words, check=True, capture_output=True, timeout=500, text=True)
    metrics: dict[str, Any] = json.loads(done.stdout)["metrics"]
    return metrics


def kill_after_an_epoch(words: list[str], workspace: Path) -> None:
    """Start a training, and kill -9 it as soon as its first checkpoint lies there."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    checkpoint = workspace / "runs" / "pretrain" / "1" / "checkpoints" / "last.ckpt"
    while not checkpoint.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


PHASES = (
    "data.spacing_mm=2",
    "train.progressive=[{spacing_mm: 4, share: 0.5}, {spacing_mm: 2, share: 0.5}]",
)


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), PHASES], ids=["one phase", "coarse to fine"])
def test_killed_and_resumed_it_ends_with_the_same_loss(
    scans: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    expected = metrics_of(command(scans, tmp_path / "whole", *more))
    words = command(scans, tmp_path / "parts", *more)
    kill_after_an_epoch(words, tmp_path / "parts")
    assert metrics_of(words) == expected
    assert expected["epochs"] == 4
    assert [path.name for path in (tmp_path / "parts/runs/pretrain").glob("[0-9]*")] == ["1"]
    losses = [_losses(tmp_path / name / "runs/pretrain/1") for name in ("whole", "parts")]
    assert losses[1]  # the log of a killed process lacks what it had not written yet
    assert losses[1].items() <= losses[0].items()


def _losses(run: Path) -> dict[str, str]:
    """Return the loss by epoch; an epoch that was run twice counts with its last value."""
    with (run / "metrics.csv").open(encoding="utf-8") as stream:
        return {row["epoch"]: row["loss"] for row in csv.DictReader(stream) if row["loss"]}


@pytest.mark.slow
@pytest.mark.shared_data
def test_real_scans_killed_and_resumed_end_with_the_same_loss(
    shared_data: Path, tmp_path: Path
) -> None:
    few = ("data.spacing_mm=2", "train.epochs=2", "train.patches_per_epoch=4")
    expected = metrics_of(command(shared_data / "ct", tmp_path / "whole", *few))
    words = command(shared_data / "ct", tmp_path / "parts", *few)
    kill_after_an_epoch(words, tmp_path / "parts")
    assert metrics_of(words) == expected
