"""Pretraining on images from a manifest to a registered backbone, and what stops it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml

from medvit.data.manifest import read_manifest, write_manifest
from medvit.errors import ConfigError, GateRefusedError
from medvit.models.weights import load_model
from medvit.registry.registry import find_model
from medvit.workspace import Workspace
from pipelines import pretrain
from pipelines.classifying.start import is_poor_start
from pipelines.pretraining.image_config import PretrainConfig
from pipelines.pretraining.images import seconds_per_epoch
from tests.make.surface import write_surface_set

TINY: dict[str, Any] = {
    "data": {"side_px": 32},
    "model": {"name": "start"},
    "train": {"epochs": 1, "batch_size": 8, "lr": 1e-3},
    "views": {"side_px": 32},
}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a manifest of 24 training and 9 validation images in three classes."""
    folder = tmp_path_factory.mktemp("images")
    return write_surface_set(folder, per_split={"train": 8, "val": 3})


def load(folder: Path, manifest: Path, *overrides: str, **groups: Any) -> PretrainConfig:
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({**TINY, **groups}), encoding="utf-8")
    words = [f"data.manifest={manifest}", *overrides]
    if not any(word.startswith("pretrain.method") for word in words):
        words.append("pretrain.method=simclr")
    config = pretrain.load(file, words)
    assert isinstance(config, PretrainConfig)
    return config


@pytest.mark.slow
@pytest.mark.parametrize("method", ["moco_v3", "mae"])
def test_every_method_leaves_a_backbone_and_pictures(
    manifest: Path, tmp_path: Path, method: str
) -> None:
    narrow = ("pretrain.head_width=32", "pretrain.decoder_dim=16", "pretrain.keep_share=0.5")
    changes = (f"pretrain.method={method}", *narrow)
    answer = pretrain.run(load(tmp_path, manifest, *changes), Workspace(tmp_path))
    run = Path(answer["run"])
    for name in ("train_batch.jpg", "attention.png", "results.png", "metrics.csv"):
        assert (run / name).is_file(), name
    with (run / "results.csv").open(encoding="utf-8") as stream:
        row = next(csv.DictReader(stream))
    assert {*row} == {"epoch", "loss", "spread", "rank", "neighbours_right"}
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert record["counts"] == {"images": 24, "labelled": 33}
    assert 0 < answer["metrics"]["loader_wait_share"] < 1
    net, card = load_model(find_model("start", models=Workspace(tmp_path).models).folder)
    assert card.training["pretrain"]["method"] == method
    assert net(torch.zeros(1, 1, 32, 32)).shape == (1, 128, 4, 4)


@pytest.mark.slow
def test_it_says_whether_it_paid(manifest: Path, tmp_path: Path) -> None:
    report = {"shots": [1, 5], "draws": 3, "tune_steps": 1}
    config = load(tmp_path, manifest, report=report, model={"name": "s", "backbone": "cnn_small"})
    answer = pretrain.run(config, Workspace(tmp_path))
    payoff = answer["metrics"]["payoff"]
    assert payoff["verdict"] in ("paid", "did not pay")
    assert {(row["way"], row["shots"]) for row in payoff["rows"]} == {
        (way, shots) for way in ("prototypes", "linear", "fine-tuned") for shots in (0, 1, 5)
    }
    whole = json.loads((Path(answer["run"]) / "payoff.json").read_text(encoding="utf-8"))
    draws = [s["draw"] for s in whole["scores"] if s["way"] == "linear" and s["shots"] == 5]
    assert sorted(draws) == [0, 0, 1, 1, 2, 2]
    page = (Path(answer["run"]) / "payoff.html").read_text(encoding="utf-8")
    assert "Against random weights" in page
    readme = find_model("s", models=Workspace(tmp_path).models).folder / "README.md"
    assert "## Did it pay?" in readme.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_pretraining_goes_on_from_given_weights(manifest: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    pretrain.run(load(tmp_path, manifest), workspace)
    pretrain.run(load(tmp_path, manifest, "model.weights=start", "model.name=more"), workspace)
    _, card = load_model(find_model("more", models=workspace.models).folder)
    assert card.parents == ("start@1",)
    other = load(tmp_path, manifest, "model.weights=start", "model.backbone=cnn_small")
    with pytest.raises(ConfigError, match=r"start@1 \(vit_tiny_stem\) do not fit .*cnn_small"):
        pretrain.run(other, workspace)


def test_a_collapse_is_named_and_stops_when_asked(
    manifest: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    monkeypatch.setattr("medvit.learn.pretraining.watch.ALARM_STEPS", 1)
    # Images of one group do not repel each other: nothing keeps them apart.
    rows = [replace(row, group="one") for row in read_manifest(manifest).of("train")]
    alike = manifest.with_name("alike.csv")
    write_manifest(alike, rows)
    words = ("pretrain.method=moco_v3", "train.warmup_epochs=0", "pretrain.on_collapse=stop")
    with pytest.raises(GateRefusedError, match=r"epoch 1: collapse: embeddings .* spread 0\.0"):
        pretrain.run(load(tmp_path, alike, *words), Workspace(tmp_path))
    assert "collapse" in caplog.text
    record = json.loads((tmp_path / "runs/pretrain/1/run.json").read_text(encoding="utf-8"))
    assert "collapse" in record["failures"][0]
    assert not (tmp_path / "models" / "start").exists()


@pytest.mark.slow
def test_a_network_of_transformers_is_pretrained_and_built_again(
    manifest: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "vit"
    transformers.ViTModel(
        transformers.ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            image_size=32,
            patch_size=8,
        )
    ).save_pretrained(folder)
    name = f"hf:{folder}"
    words = (f"model.backbone={name}", f"model.weights={name}")
    pretrain.run(load(tmp_path, manifest, *words), Workspace(tmp_path))
    shutil.rmtree(folder)
    net, card = load_model(find_model("start", models=Workspace(tmp_path).models).folder)
    assert card.architecture.builder == "image_backbone"
    assert net(torch.zeros(1, 1, 32, 32)).shape == (1, 16, 4, 4)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("pretrain.method=mae", "model.backbone=cnn_small"),
            "mae with model.backbone=cnn_small: .* only a plain ViT can",
        ),
        (
            ("pretrain.method=mae", "views.side_px=36"),
            "views.side_px=36 is no multiple of the 8 px",
        ),
        (
            ("pretrain.keep_share=0.5", "model.backbone=cnn_small"),
            "keep_share=0.5: cnn_small has no patches",
        ),
        (("train.batch_size=25",), "24 training images are fewer than train.batch_size=25"),
        (("report.shots=[9]",), "9 labelled images of each in split train, found dots 8, lines 8"),
        (("report.shots=[5, 1]",), r"shots must be positive and rise, got \[5, 1\]"),
        (("views.min_area=0.9", "views.max_area=0.5"), "areas must rise .* min_area 0.9"),
        (("pretrain.method=dino",), "must be one of simclr, moco_v3, mae, swin_ssl, got 'dino'"),
        (("model.backbone=vit_tiny_stam",), "no such backbone; did you mean 'vit_tiny_stem'"),
    ],
)
def test_what_cannot_work_is_refused_before_a_run_is_opened(
    manifest: Path, tmp_path: Path, overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        pretrain.run(load(tmp_path, manifest, *overrides), Workspace(tmp_path))
    assert not (tmp_path / "runs").exists()


def test_prototypes_on_a_masked_autoencoder_are_a_poor_start() -> None:
    assert is_poor_start({"pretrain": {"method": "mae"}}, "prototype")
    assert not is_poor_start({"pretrain": {"method": "mae"}}, "full")
    assert not is_poor_start({"pretrain": {"method": "simclr"}}, "prototype")


def words_of(folder: Path, manifest: Path, workspace: Path) -> list[str]:
    """Return a command that trains MoCo v3 for four epochs."""
    groups = {
        **TINY,
        "data": {"side_px": 32, "manifest": str(manifest)},
        "train": {**TINY["train"], "epochs": 4},
        "pretrain": {"method": "moco_v3", "head_width": 32},
    }
    file = folder / f"{workspace.name}.yaml"
    file.write_text(yaml.safe_dump(groups), encoding="utf-8")
    start = [sys.executable, "-m", "apps.cli", "pretrain", str(file)]
    return [*start, "--workspace", str(workspace), "--json", "--quiet"]


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_weights(manifest: Path, tmp_path: Path) -> None:
    whole = words_of(tmp_path, manifest, tmp_path / "whole")
    subprocess.run(whole, check=True, capture_output=True, timeout=300)
    parts = words_of(tmp_path, manifest, tmp_path / "parts")
    process = subprocess.Popen(parts, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "parts/runs/pretrain/1/checkpoints/last.ckpt"
    deadline = time.monotonic() + 200
    while not checkpoint.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    subprocess.run(parts, check=True, capture_output=True, timeout=300)
    cards = [load_model(tmp_path / name / "models/start/1")[1] for name in ("whole", "parts")]
    assert cards[0].weights_sha256 == cards[1].weights_sha256
    assert cards[0].metrics["epochs"] == cards[1].metrics["epochs"] == 4
    assert cards[0].metrics["loss"] == cards[1].metrics["loss"]
    rows = (tmp_path / "parts/runs/pretrain/1/results.csv").read_text(encoding="utf-8")
    assert rows == (tmp_path / "whole/runs/pretrain/1/results.csv").read_text(encoding="utf-8")


@pytest.mark.slow
def test_two_processes_train_together(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    config = load(tmp_path, manifest, "train.devices=2", "model.backbone=cnn_small")
    answer = pretrain.run(config, Workspace(tmp_path))
    assert answer["metrics"]["epochs"] == 1
    assert answer["metrics"]["spread"] > 0
    text = (Path(answer["run"]) / "results.csv").read_text(encoding="utf-8")
    assert len(text.splitlines()) == 2


def test_an_epoch_is_timed_and_leaves_nothing_behind(manifest: Path, tmp_path: Path) -> None:
    config = load(tmp_path, manifest)
    before = sorted(Path.cwd().iterdir())
    assert seconds_per_epoch(config, steps=1) > 0
    assert sorted(Path.cwd().iterdir()) == before
