"""From a manifest to a registered model, end to end on tiny images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from medvit.errors import ConfigError, InputError
from medvit.inference.defects import judge_image
from medvit.io.readers import read_image
from medvit.models.weights import load_model
from medvit.registry.registry import find_model
from medvit.workspace import Workspace
from pipelines import pretrain, train
from pipelines.config import check_config, load_config
from pipelines.pretrain_images import PretrainConfig
from pipelines.train_classify import ClassifyConfig
from tests.make.surface import write_surface_set

SPLITS = {"train": 6, "val": 2, "test": 2}


def settings(manifest: Path, **changes: Any) -> dict[str, Any]:
    return {
        "task": "classify",
        "data": {"manifest": str(manifest), "side_px": 32},
        "model": {"name": "tiny"},
        "train": {"epochs": 1, "batch_size": 6, "lr": 1e-3},
        "views": {"side_px": 32},
        **changes,
    }


def config_file(folder: Path, values: dict[str, Any]) -> Path:
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return file


def test_a_manifest_becomes_a_model_that_judges_images(tmp_path: Path) -> None:
    manifest = write_surface_set(tmp_path, per_split=SPLITS)
    workspace = Workspace(tmp_path / "w")
    config = train.load(config_file(tmp_path, settings(manifest)))
    answer = train.run(config, workspace)
    assert answer["model"] == "tiny@1"
    assert answer["metrics"]["n"] == 6
    record = json.loads((Path(answer["run"]) / "run.json").read_text(encoding="utf-8"))
    assert record["counts"] == {"train": 18, "val": 6, "test": 6}
    version = find_model("tiny", task="defect", models=workspace.models)
    module, card = load_model(version.folder)
    assert card.classes == ("dots", "lines", "plain")
    assert "no class for a sound surface" in (version.folder / "README.md").read_text()
    pixels = read_image(tmp_path / "dots-test-0.png").pixels
    assert judge_image(pixels, module, card).label in card.classes


def test_pretrained_weights_are_the_start_and_the_parent(tmp_path: Path) -> None:
    manifest = write_surface_set(tmp_path, per_split=SPLITS)
    workspace = Workspace(tmp_path / "w")
    values = {key: settings(manifest)[key] for key in ("data", "train", "views")}
    config = check_config(PretrainConfig, {**values, "model": {"name": "start"}}, name="p.yaml")
    answer = pretrain.run(config, workspace)
    assert (answer["model"], answer["metrics"]["epochs"]) == ("start@1", 1)
    tuned = settings(manifest, model={"name": "tiny", "weights": "start"})
    train.run(train.load(config_file(tmp_path, tuned)), workspace)
    version = find_model("tiny", models=workspace.models)
    assert load_model(version.folder)[1].parents == ("start@1",)


def test_a_time_limit_still_gives_a_usable_model_that_says_so(tmp_path: Path) -> None:
    manifest = write_surface_set(tmp_path, per_split=SPLITS)
    workspace = Workspace(tmp_path / "w")
    file = config_file(tmp_path, settings(manifest))
    answer = train.run(train.load(file, ["train.max_minutes=1e-9"]), workspace)
    assert answer["metrics"]["cut_short"]
    readme = find_model("tiny", models=workspace.models).folder / "README.md"
    assert "Cut short" in readme.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sampler": {"name": "balanced"}}, "favours rare classes twice"),
        ({"loss": {"name": "focal"}}, "loss.name='focal'"),
        ({"model": {"name": "tiny", "backbon": "x"}}, "unknown key 'model.backbon'"),
        ({"task": "segment"}, "task must be one of classify, detect, got 'segment'"),
    ],
)
def test_a_config_that_breaks_a_rule_is_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    manifest = write_surface_set(tmp_path, per_split={"train": 1})
    with pytest.raises(ConfigError, match=words):
        train.load(config_file(tmp_path, settings(manifest, **changes)))


def refusal(folder: Path, manifest: Path, **changes: Any) -> ConfigError:
    config = train.load(config_file(folder, settings(manifest, **changes)))
    with pytest.raises(ConfigError) as caught:
        train.run(config, Workspace(folder / "w"))
    return caught.value


def test_a_single_class_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    manifest = write_surface_set(tmp_path, per_split={"train": 8}, classes=("lines",))
    assert "found 1: lines" in refusal(tmp_path, manifest).message
    assert not (tmp_path / "w").exists()


def test_fewer_images_than_a_batch_are_refused_with_a_way_out(tmp_path: Path) -> None:
    manifest = write_surface_set(tmp_path, per_split={"train": 1})
    error = refusal(tmp_path, manifest)
    assert "3 training images are fewer than train.batch_size=6" in error.message
    assert "train.batch_size=3" in error.hint


def test_a_missing_manifest_or_root_is_named_by_its_key(tmp_path: Path) -> None:
    absent = tmp_path / "absent.csv"
    assert f"data.manifest={absent}" in refusal(tmp_path, absent).message
    manifest = write_surface_set(tmp_path, per_split={"train": 8})
    data = {"manifest": str(manifest), "root": str(tmp_path / "nowhere")}
    assert "data.root=" in refusal(tmp_path, manifest, data=data).message


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    manifest = write_surface_set(tmp_path, per_split=SPLITS)
    (tmp_path / "dots-train-3.png").unlink()
    config = train.load(config_file(tmp_path, settings(manifest)))
    with pytest.raises(InputError, match=r"dots-train-3\.png"):
        train.run(config, Workspace(tmp_path / "w"))


def test_foreign_weights_are_refused_by_name(tmp_path: Path) -> None:
    manifest = write_surface_set(tmp_path, per_split=SPLITS)
    model = {"name": "tiny", "weights": "hf:google/vit"}
    assert "hf:google/vit" in refusal(tmp_path, manifest, model=model).message


def test_the_shipped_configs_are_valid() -> None:
    assert isinstance(train.load("train/classify_defects"), ClassifyConfig)
    assert load_config(PretrainConfig, "pretrain/vit_defects").pretrain.method == "simclr"
