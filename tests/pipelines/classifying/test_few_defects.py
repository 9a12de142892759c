"""A few labels and many unlabelled images become a model that scans and can be extended."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medvit.data.manifest import ManifestRow, read_manifest, write_manifest
from medvit.errors import ConfigError
from medvit.inference.defects import judge_image
from medvit.io.readers import read_image
from medvit.models.heads.classify import DefectClassifier
from medvit.models.weights import load_model
from medvit.registry.lineage import read_seen
from medvit.registry.registry import README, find_model
from medvit.trust.ood import read_looks
from medvit.workspace import Workspace
from pipelines import train
from pipelines.classifying.config import ClassifyConfig
from pipelines.config import check_config
from pipelines.evaluating.model import ModelSettings, run_model
from pipelines.import_model import ImportSettings, import_model
from tests.make.surface import write_surface_set


def settings(manifest: Path, **model: Any) -> ClassifyConfig:
    values = {
        "task": "classify",
        "data": {"manifest": str(manifest), "side_px": 32},
        "model": {"name": "few", "backbone": "cnn_small", "texture": True, **model},
        "train": {"epochs": 1},
        "tuning": {"method": "prototype", "prototype": "spread"},
    }
    return check_config(ClassifyConfig, values, name="few.yaml")


def hide_labels(manifest: Path, *, keep: int) -> None:
    """Leave so many labels a class in split train."""
    left: dict[str, int] = {}
    rows = []
    for row in read_manifest(manifest).rows:
        left.setdefault(row.label, keep)
        if row.split == "train":
            left[row.label] -= 1
        is_hidden = row.split == "train" and left[row.label] < 0
        rows.append(replace(row, label="") if is_hidden else row)
    write_manifest(manifest, rows)


@pytest.mark.slow
def test_imagenet_weights_are_imported_and_judge_after_a_few_labels(tmp_path: Path) -> None:
    manifest = write_surface_set(tmp_path, per_split={"train": 12, "val": 8, "test": 4})
    hide_labels(manifest, keep=3)
    workspace = Workspace(tmp_path / "w")
    imported = import_model(ImportSettings(network="efficientnet_lite0"), workspace=workspace)
    given = {"backbone": "efficientnet_lite0", "weights": imported["model"], "texture": "maps"}
    answer = train.run(settings(manifest, **given), workspace)
    assert answer["metrics"]["accuracy"] >= 10 / 12
    version = find_model("few", models=workspace.models)
    net, card = load_model(version.folder)
    assert card.parents == ("imagenet-lite0@1",)
    told = (version.folder / README).read_text(encoding="utf-8")
    assert "its head is computed from labelled images (spread), nothing trained" in told
    assert card.architecture.arguments["extras"] == {"texture": "maps"}
    looks = read_looks(version.folder, card)
    assert looks is not None
    assert looks.reduction is not None
    assert isinstance(net, DefectClassifier)
    assert net.backbone.out_channels == 2 * (24 + 40 + 112 + 1280)


@pytest.mark.slow
def test_labels_are_spread_told_on_the_card_and_the_model_judges(tmp_path: Path) -> None:
    manifest = write_surface_set(tmp_path, per_split={"train": 12, "test": 4})
    hide_labels(manifest, keep=3)
    workspace = Workspace(tmp_path / "w")
    answer = train.run(settings(manifest), workspace)
    assert answer["metrics"]["labels_spread"] == 27
    assert answer["metrics"]["accuracy"] >= 10 / 12
    version = find_model("few", models=workspace.models)
    module, card = load_model(version.folder)
    told = card.training["labels_spread"]
    assert (told["given"], told["spread"], sum(told["by_class"].values())) == (9, 27, 27)
    pixels = read_image(tmp_path / "lines-test-0.png").pixels
    found = judge_image(pixels, module, card)
    assert found.label == "lines"
    assert found.heat.shape == (32, 32)
    assert np.isfinite(found.heat).all()
    assert found.heat.max() == pytest.approx(1)
    seen = read_seen(version.folder)
    assert seen is not None
    assert len(seen.cases) == len(read_manifest(manifest).of("train"))  # unlabelled ones taught too


@pytest.mark.slow
def test_with_no_unlabelled_image_a_plain_linear_head_is_fitted(tmp_path: Path) -> None:
    manifest = write_surface_set(tmp_path, per_split={"train": 3, "test": 2})
    answer = train.run(settings(manifest), Workspace(tmp_path / "w"))
    assert answer["metrics"]["labels_spread"] == 0
    assert answer["metrics"]["n"] == 6


@pytest.mark.slow
def test_a_new_class_keeps_texture_and_its_scale(tmp_path: Path) -> None:
    manifest = write_surface_set(tmp_path, per_split={"train": 8, "val": 12, "test": 2})
    workspace = Workspace(tmp_path / "w")
    rows = read_manifest(manifest).rows
    known = tmp_path / "known.csv"
    write_manifest(known, [row for row in rows if row.label != "dots"])
    train.run(settings(known), workspace)
    values = {
        "task": "classify",
        "data": {"manifest": str(manifest), "side_px": 32},
        "model": {"name": "more", "weights": "few"},
        "train": {"epochs": 1},
        "tuning": {"method": "prototype", "keep_classes": True},
    }
    train.run(check_config(ClassifyConfig, values, name="more.yaml"), workspace)
    nets = [load_model(find_model(n, models=workspace.models).folder)[0] for n in ("few", "more")]
    old, new = (net.backbone.state_dict() for net in nets)  # type: ignore[union-attr]
    assert all(bool((old[key] == new[key]).all()) for key in old)
    assert "scale" in old


def test_spread_labels_beside_kept_classes_are_refused() -> None:
    values = {
        "task": "classify",
        "data": {"manifest": "m.csv"},
        "model": {"name": "few", "weights": "steel-defects"},
        "train": {"epochs": 1},
        "tuning": {"method": "prototype", "prototype": "spread", "keep_classes": True},
    }
    with pytest.raises(ConfigError, match=r"tuning\.keep_classes with tuning\.prototype=spread"):
        check_config(ClassifyConfig, values, name="few.yaml")


def write_neu(root: Path, file: Path) -> None:
    """Write 5 labels a class, every 16th image of dev_train without one, and a test part."""
    with (root / "neu-det-dev.csv").open(encoding="utf-8") as stream:
        rows = {row["image"]: row for row in csv.DictReader(stream)}
    given = json.loads((root / "splits/fewshot.json").read_text())["5-shot/seed0"]
    taken = {rows[name]["group"] for name in given}
    parts = {
        part: [n for n in (root / f"splits/{part}.txt").read_text().split() if n not in given]
        for part in ("dev_train", "dev_val")
    }
    found = [ManifestRow(f"{n}.jpg", rows[n]["class"], "train", rows[n]["group"]) for n in given]
    found += [
        ManifestRow(f"{n}.jpg", "", "train", rows[n]["group"]) for n in parts["dev_train"][::16]
    ]
    apart = [n for n in parts["dev_val"] if rows[n]["group"] not in taken]
    found += [
        ManifestRow(f"{n}.jpg", rows[n]["class"], "test", rows[n]["group"]) for n in apart[::4]
    ]
    write_manifest(file, found)


@pytest.mark.slow
@pytest.mark.shared_data
def test_five_labels_a_class_of_neu_on_the_shipped_backbone(
    tmp_path: Path, shared_data: Path
) -> None:
    root = shared_data / "defects/neu-det"
    manifest = tmp_path / "neu.csv"
    write_neu(root, manifest)
    workspace = Workspace(tmp_path / "w")
    shipped = {"backbone": "efficientnet_lite0", "weights": "steel-defects", "texture": "maps"}
    config = settings(manifest, **shipped)
    data = config.data.model_copy(update={"side_px": 200, "root": root / "images"})
    answer = train.run(config.model_copy(update={"data": data}), workspace)
    assert answer["metrics"]["labels_spread"] > 50
    judged = ModelSettings(model="few", manifest=manifest, root=root / "images", rounds=40)
    found = run_model(judged, workspace=workspace)
    assert found["accuracy"] == pytest.approx(answer["metrics"]["accuracy"])
    assert found["accuracy"] >= 0.95


def test_weights_for_grey_images_are_refused_for_coloured_ones(tmp_path: Path) -> None:
    manifest = write_surface_set(tmp_path, per_split={"train": 4, "test": 2})
    workspace = Workspace(tmp_path / "w")
    import_model(ImportSettings(network="efficientnet_lite0"), workspace=workspace)
    config = settings(manifest, backbone="efficientnet_lite0", weights="imagenet-lite0")
    colour = config.model_copy(
        update={"data": config.data.model_copy(update={"channels": "colour"})}
    )
    with pytest.raises(
        ConfigError, match="they are for grey images, not for colour ones"
    ) as caught:
        train.run(colour, workspace)
    assert "data.channels=grey" in caught.value.hint
