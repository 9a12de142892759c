"""From annotated images to a registered detector, and what a scan makes of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch.utils.data import DataLoader

from apps.cli.__main__ import run as run_cli
from medvit.data.box_images import BoxDataset, collate_boxes
from medvit.data.manifest import read_manifest
from medvit.errors import ConfigError
from medvit.learn.boxes import BoxObjective
from medvit.learn.fit import EpochReport, FitSettings, fit
from medvit.models.builders import defect_detector
from medvit.models.weights import load_model
from medvit.registry.lineage import read_seen, seen_images
from medvit.registry.registry import find_model
from medvit.workspace import Workspace
from pipelines import train
from pipelines.detecting.config import DetectConfig, DetectData
from pipelines.detecting.data import read_splits
from pipelines.detecting.validation import answers_of, best_thresholds, quick_figures
from pipelines.nodules.config import NoduleConfig
from tests.make.boxed import write_boxed


def load(folder: Path, *overrides: str) -> DetectConfig:
    given = [
        f"data.annotations={folder / 'coco.json'}",
        f"data.manifest={folder / 'manifest.csv'}",
        "data.side_px=64",
        "model.name=tiny-boxes",
        "model.width=16",
        "train.batch_size=7",
        "train.precision=32-true",
        "train.validate_every=1",
    ]
    config = train.load("train/detect_defects", [*given, *overrides])
    assert isinstance(config, DetectConfig)
    return config


def test_annotations_make_a_config_one_of_images() -> None:
    assert isinstance(train.load("train/detect_defects"), DetectConfig)
    assert isinstance(train.load("train/nodule_phantom"), NoduleConfig)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.anotations=x", "did you mean 'annotations'"),
        ("loss.name=cross_entropy", "loss.name='cross_entropy'"),
        ("model.finest_px=12", "model.finest_px must be 4, 8, 16 or 32, got 12"),
        ("model.backbone=cnn_smal", "did you mean 'cnn_small'"),
        ("train.ema_decay=1", "train.ema_decay=1"),
        ("sampler.name=balanced", "sampler.name='balanced'"),
        ("views.most_scale=0.5", "views.most_scale=0.5"),
    ],
)
def test_a_config_that_breaks_a_rule_is_refused(override: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        train.load("train/detect_defects", [override])
    assert words in f"{caught.value.message} {caught.value.hint}"


def test_too_few_images_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    folder = write_boxed(tmp_path / "practice", count=7)
    config = load(folder, "train.batch_size=8")
    with pytest.raises(ConfigError, match=r"7 training images are fewer than train.batch_size=8"):
        train.run(config, Workspace(tmp_path / "w"))
    assert not (tmp_path / "w").exists()


@pytest.mark.slow
def test_a_small_detector_learns_eight_surfaces_by_heart(tmp_path: Path) -> None:
    folder = write_boxed(tmp_path / "practice", count=8)
    splits = read_splits(
        DetectData(annotations=folder / "coco.json", manifest=folder / "manifest.csv", side_px=128),
        multiple_px=32,
    )
    images = splits.images["train"]
    assert len(images.rows) == 8
    torch.manual_seed(0)
    net = defect_detector(backbone="cnn_small", classes=len(splits.classes), width=48)
    batches = DataLoader(
        BoxDataset(images, views=None, seed=0),
        batch_size=8,
        sampler=[(0, number % 8) for number in range(64)],
        collate_fn=collate_boxes,
    )
    settings = FitSettings(epochs=8, lr=2e-3, warmup_epochs=0.3)
    objective = BoxObjective(net, lr=2e-3, backbone_lr=2e-3)
    fit(objective, batches, settings=settings, folder=tmp_path / "run")
    answers = answers_of(net, images, classes=splits.classes)
    assert quick_figures(answers)["metrics/mAP50"] >= 0.9
    assert {*best_thresholds(answers)} == {*splits.classes}


@pytest.mark.slow
def test_a_resumed_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    folder = write_boxed(tmp_path / "practice", count=35)
    config = load(folder, "train.epochs=2")

    def stop(report: EpochReport) -> None:
        if report.epoch == 1:
            raise KeyboardInterrupt

    whole, parted = Workspace(tmp_path / "whole"), Workspace(tmp_path / "parted")
    train.run(config, whole)
    with pytest.raises(KeyboardInterrupt):
        train.run(config, parted, progress=stop)
    train.run(config, parted)
    versions = [find_model("tiny-boxes", models=each.models) for each in (whole, parted)]
    assert versions[0].sha256 == versions[1].sha256
    rows = [(w.runs("train") / "1" / "results.csv").read_text() for w in (whole, parted)]
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_boxes_become_a_model_that_scans_and_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MEDVIT_WORKSPACE", str(tmp_path / "w"))
    folder = write_boxed(tmp_path / "practice", count=35)
    answer = train.run(load(folder, "train.epochs=2"), Workspace(tmp_path / "w"))
    assert answer["model"] == "tiny-boxes@1"
    assert {"map50", "map50_95", "per_class", "n", "epochs", "cut_short"} <= {*answer["metrics"]}
    check_run_folder(Path(answer["run"]))
    _, card = load_model(tmp_path / "w" / "models" / "tiny-boxes" / "1")
    assert {*card.thresholds} == {*card.classes}
    check_curves(card.metrics)
    assert card.preprocessing["image_px"] == 128
    check_trained_on(tmp_path / "w" / "models" / "tiny-boxes" / "1", folder)

    def call(*words: object) -> dict[str, Any]:
        capsys.readouterr()
        assert run_cli([*(str(word) for word in words), "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    lower_thresholds(tmp_path / "w" / "models" / "tiny-boxes" / "1")
    out = tmp_path / "out"
    scan = call(
        *("scan", folder / "images", "--out", out, "--task", "defect", "--model", "tiny-boxes"),
        *("--write", "coco"),
    )
    coco = json.loads((out / "coco.json").read_text(encoding="utf-8"))
    findings = list(csv.DictReader((out / "findings.csv").open(encoding="utf-8")))
    assert len(coco["images"]) == scan["accept"] == 35
    assert len(coco["annotations"]) == len(findings) == scan["findings"] > 0
    check_cases(out, findings)
    scored = call(
        *("evaluate", "detection", "--predictions", out / "coco.json"),
        *("--annotations", folder / "coco.json", "--rounds", 40),
    )
    assert 0 <= scored["map50"] <= 1
    assert {*scored["per_class"]} == {*card.classes}
    manifest = folder / "manifest.csv"
    judged = call("evaluate", "model", "tiny-boxes", "--manifest", manifest, "--rounds", 40)
    assert judged["n"] == 7
    assert 0 <= judged["accuracy"] <= 1


def check_curves(metrics: dict[str, Any]) -> None:
    """Curves are of the boxes and the split that average precision is of."""
    curves, rows = metrics["curves"], metrics["per_class"]
    assert curves["split"] == "test"
    known = {name: row["true_boxes"] for name, row in rows.items() if row["true_boxes"]}
    assert {name: each["n"] for name, each in curves["classes"].items()} == known
    assert any(each["threshold"] for each in curves["classes"].values())
    for each in curves["classes"].values():
        assert len(each["threshold"]) == len(each["precision"]) == len(each["recall"]) <= 50
        assert each["threshold"] == sorted({*each["threshold"]})
        found = [recall * each["n"] for recall in each["recall"]]
        assert found == sorted(found, reverse=True)
        np.testing.assert_allclose(found, np.round(found), atol=1e-4)


def check_run_folder(run: Path) -> None:
    for name in (
        *("results.png", "confusion_matrix.png", "PR_curve.png", "labels.jpg"),
        *("train_batch0.jpg", "val_batch0_labels.jpg", "val_batch0_pred.jpg"),
    ):
        with Image.open(run / name) as picture:
            assert min(picture.size) > 100, name
    rows = list(csv.DictReader((run / "results.csv").open(encoding="utf-8")))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"train/box", "metrics/mAP50", "metrics/mAP50-95", "metrics/recall"} <= {*rows[0]}
    args = yaml.safe_load((run / "args.yaml").read_text(encoding="utf-8"))
    assert DetectConfig.model_validate(args).model_dump(mode="json") == args
    for kind in ("best", "last"):
        module, _ = load_model(run / "weights" / kind)
        assert module(torch.rand(1, 1, 64, 64)).labels.shape[2] == 7


def check_trained_on(model: Path, folder: Path) -> None:
    """The gate finds every training image and group again, and none of the others."""
    rows = read_manifest(folder / "manifest.csv").of("train")
    seen = read_seen(model)
    assert seen == seen_images(folder, ((row.path, row.group) for row in rows))
    assert len(seen.cases) == len(rows) == 21


def lower_thresholds(model: Path) -> None:
    """Let a hardly trained model speak."""
    file = model / "model.json"
    card = json.loads(file.read_text(encoding="utf-8"))
    card["thresholds"] = dict.fromkeys(card["thresholds"], 0.06)
    file.write_text(json.dumps(card), encoding="utf-8")


def check_cases(out: Path, findings: list[dict[str, str]]) -> None:
    """The label of an image is that of its most probable box; boxes are whole pixels inside."""
    cases = {r["case_id"]: r for r in csv.DictReader((out / "cases.csv").open(encoding="utf-8"))}
    best: dict[str, dict[str, str]] = {}
    for row in findings:
        x0, y0, x1, y1 = (int(row[name]) for name in ("x_min", "y_min", "x_max", "y_max"))
        assert 0 <= x0 < x1 <= 128
        assert 0 <= y0 < y1 <= 128
        before = best.get(row["case_id"])
        if before is None or float(row["probability"]) > float(before["probability"]):
            best[row["case_id"]] = row
    for case_id, row in best.items():
        assert np.isclose(float(cases[case_id]["probability"]), float(row["probability"]))
    labels = [cases[name]["label"] == row["label"] for name, row in best.items()]
    assert np.mean(labels) > 0.9  # equal probabilities are rounded in the table
