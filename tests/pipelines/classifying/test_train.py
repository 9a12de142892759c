"""From a manifest to a registered model, end to end on tiny images."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from medvit.errors import ConfigError, InputError, ModelError
from medvit.inference.defects import judge_image
from medvit.io.readers import read_image
from medvit.learn.tuning.methods import METHODS
from medvit.models.builders import IMAGE_BACKBONES
from medvit.models.card import read_card
from medvit.models.weights import load_model
from medvit.registry.registry import find_model
from medvit.workspace import Workspace
from pipelines import pretrain, train
from pipelines.classifying.config import ClassifyConfig, Tuning
from pipelines.config import check_config, load_config
from pipelines.pretraining.images import PretrainConfig
from pipelines.training.image_model import ImageBackbone
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
    check_curves(card.metrics["curves"], card.classes)
    assert "no class for a sound surface" in (version.folder / "README.md").read_text()
    pixels = read_image(tmp_path / "dots-test-0.png").pixels
    assert judge_image(pixels, module, card).label in card.classes


def check_curves(curves: dict[str, Any], classes: tuple[str, ...]) -> None:
    """Two of six test images are of each class, and the lowest threshold names all of them."""
    assert curves["split"] == "test"
    assert {*curves["classes"]} == {*classes}
    for each in curves["classes"].values():
        assert each["n"] == 2
        assert each["threshold"] == sorted({*each["threshold"]})
        assert 0 < each["threshold"][0] < 1
        assert (each["precision"][0], each["recall"][0]) == (round(2 / 6, 6), 1.0)


def test_a_class_of_sound_surfaces_lets_large_images_be_judged_in_tiles(tmp_path: Path) -> None:
    manifest = write_surface_set(tmp_path, per_split=SPLITS)
    workspace = Workspace(tmp_path / "w")
    data = {"manifest": str(manifest), "side_px": 32}
    wrong = settings(manifest, data={**data, "sound_class": "plane"})
    with pytest.raises(ConfigError, match=r"data\.sound_class=plane is none of") as told:
        train.run(train.load(config_file(tmp_path, wrong)), workspace)
    assert "did you mean 'plain'?" in (told.value.hint or "")
    chosen = settings(
        manifest, data={**data, "sound_class": "plain"}, tuning={"method": "prototype"}
    )
    train.run(train.load(config_file(tmp_path, chosen)), workspace)
    version = find_model("tiny", task="defect", models=workspace.models)
    how = read_card(version.folder).preprocessing
    assert (how["image_px"], how["sound_class"]) == (32, "plain")
    assert "A surface without defect is plain." in (version.folder / "README.md").read_text()


@pytest.mark.slow
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


@pytest.mark.slow
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
        ({"loss": {"name": "hinge"}}, "loss.name='hinge'"),
        ({"model": {"name": "tiny", "backbone": "vit_tinny"}}, "did you mean 'vit_tiny'"),
        ({"model": {"name": "t", "weights": "hf:a/b"}}, "hf:a/b belong to the network of that"),
        ({"tuning": {"keep_classes": True}}, "a new class beside old ones takes prototype or"),
        (
            {"tuning": {"keep_classes": True, "method": "prototype"}},
            "there are no classes to keep",
        ),
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


def test_weights_that_nobody_has_are_named_before_anything_is_written(tmp_path: Path) -> None:
    manifest = write_surface_set(tmp_path, per_split=SPLITS)
    model = {"name": "tiny", "backbone": "hf:medvit/none", "weights": "hf:"}
    config = train.load(config_file(tmp_path, settings(manifest, model=model)))
    with pytest.raises(ModelError, match="hf:medvit/none: no such folder"):
        train.run(config, Workspace(tmp_path / "w"))
    assert not (tmp_path / "w").exists()


def test_the_shipped_configs_are_valid() -> None:
    assert isinstance(train.load("train/classify_defects"), ClassifyConfig)
    noisy = train.load("train/noisy_defects")
    assert isinstance(noisy, ClassifyConfig)
    assert (noisy.noise.method, noisy.noise.rate) == ("prune", "auto")
    added = train.load("train/new_defect_class")
    assert isinstance(added, ClassifyConfig)
    assert added.tuning.keep_classes
    assert load_config(PretrainConfig, "pretrain/vit_defects").pretrain.method == "simclr"


def test_a_config_knows_the_backbones_that_can_be_built() -> None:
    assert {*get_args(ImageBackbone)} == {*IMAGE_BACKBONES}
    assert {*get_args(Tuning.model_fields["method"].annotation)} == {*METHODS}


def trained(folder: Path, manifest: Path, **changes: Any) -> dict[str, Any]:
    config = train.load(config_file(folder, settings(manifest, **changes)))
    return train.run(config, Workspace(folder / "w"))


@pytest.mark.slow
def test_the_run_folder_holds_what_people_look_at(tmp_path: Path) -> None:
    manifest = write_surface_set(tmp_path, per_split=SPLITS)
    training = {"epochs": 2, "batch_size": 6, "lr": 1e-3}
    mixing = {"method": "tokenmix", "probability": 1.0, "patch_px": 8}
    run = Path(trained(tmp_path, manifest, train=training, mixing=mixing)["run"])
    pictures = {"results.png", "confusion_matrix.png", "labels.jpg"}
    pictures |= {"val_batch0_labels.jpg", "val_batch0_pred.jpg"}
    pictures |= {f"train_batch{step}.jpg" for step in range(3)}
    for name in pictures:
        with Image.open(run / name) as picture:
            assert min(picture.size) > 100, name
    rows = list(csv.DictReader((run / "results.csv").open(encoding="utf-8")))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"train/loss", "val/loss", "lr", "metrics/accuracy"} <= {*rows[0]}
    args = yaml.safe_load((run / "args.yaml").read_text(encoding="utf-8"))
    assert train.load(config_file(tmp_path, args)).model_dump(mode="json") == args
    for kind in ("best", "last"):
        module, card = load_model(run / "weights" / kind)
        assert module(torch.rand(1, 1, 32, 32)).shape == (1, 3)
        assert card.reference == "tiny@1"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tuning", "expected"),
    [
        ({"method": "adapter", "adapter_width": 2}, {"adapter_width": 2}),
        ({"method": "prompt", "prompts": 2}, {"prompts": 2, "deep": True}),
        ({"method": "prototype", "prototype": "cache"}, None),
        ({"method": "prototype", "prototype": "kernel"}, None),
    ],
)
def test_a_tuned_model_is_built_again_from_its_card(
    tmp_path: Path, tuning: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    manifest = write_surface_set(tmp_path, per_split=SPLITS)
    answer = trained(tmp_path, manifest, tuning=tuning)
    module, card = load_model(tmp_path / "w" / "models" / "tiny" / "1")
    assert card.architecture.arguments.get("extras") == expected
    pixels = read_image(tmp_path / "dots-test-0.png").pixels
    assert judge_image(pixels, module, card).label in card.classes
    assert answer["metrics"]["epochs"] == (1 if expected else 0)


@pytest.mark.slow
def test_colour_is_trained_and_judged_in_colour(tmp_path: Path) -> None:
    manifest = write_surface_set(tmp_path, per_split=SPLITS)
    data = {"manifest": str(manifest), "side_px": 32, "channels": "colour"}
    trained(tmp_path, manifest, data=data, model={"name": "tiny", "backbone": "cnn_small"})
    module, card = load_model(tmp_path / "w" / "models" / "tiny" / "1")
    assert card.preprocessing["channels"] == "colour"
    told = (tmp_path / "w" / "models" / "tiny" / "1" / "README.md").read_text(encoding="utf-8")
    assert "32 px, colour;" in told
    pixels = read_image(tmp_path / "dots-test-0.png").pixels
    tinted = pixels * np.array([1.0, 0.2, 0.2], dtype=np.float32)
    one, two = (judge_image(each, module, card).probabilities for each in (pixels, tinted))
    assert one != two


def new_class_set(folder: Path) -> Path:
    """Write a manifest of five images of a new class, and of old ones to hold out."""
    folder.mkdir()
    write_surface_set(folder, per_split={"val": 10, "test": 4})
    rng = np.random.default_rng(0)
    rows = (folder / "manifest.csv").read_text(encoding="utf-8").splitlines()
    for number in range(9):
        image = np.tile(np.arange(32) % 4 * 60, (32, 1)) + rng.integers(0, 20, (32, 32))
        Image.fromarray(image.astype(np.uint8)).save(folder / f"grid-{number}.png")
        rows.append(f"grid-{number}.png,grid,{'train' if number < 5 else 'test'},grid-{number}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / "manifest.csv"


@pytest.mark.slow
def test_five_images_add_a_class_and_old_logits_stay_the_same(tmp_path: Path) -> None:
    first = write_surface_set(tmp_path, per_split=SPLITS)
    trained(tmp_path, first)
    extended = new_class_set(tmp_path / "more")
    answer = trained(
        tmp_path,
        extended,
        model={"name": "tiny", "weights": "tiny@1"},
        tuning={"method": "prototype", "keep_classes": True},
    )
    folder = tmp_path / "w" / "models" / "tiny"
    old, _ = load_model(folder / "1")
    new, card = load_model(folder / "2")
    assert card.classes == ("dots", "lines", "plain", "grid")
    assert card.parents == ("tiny@1",)
    images = torch.rand(5, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(new(images)[:, :3], old(images))
    assert answer["metrics"]["per_class"]["grid"]["recall"] == 1.0
    report = answer["metrics"]["forgetting"]
    assert {*report} == {"dots", "lines", "plain"}
    assert report["dots"]["n"] == 4


@pytest.mark.slow
def test_a_new_class_without_old_images_to_hold_out_is_refused(tmp_path: Path) -> None:
    first = write_surface_set(tmp_path, per_split=SPLITS)
    trained(tmp_path, first)
    model = {"name": "tiny", "weights": "tiny@1"}
    tuning = {"method": "prototype", "keep_classes": True}
    extended = new_class_set(tmp_path / "more")
    lines = extended.read_text(encoding="utf-8").splitlines()
    extended.write_text("\n".join(line for line in lines if ",val," not in line) + "\n")
    error = refusal(tmp_path, extended, model=model, tuning=tuning)
    assert "new class grid" in error.message
    assert "got 5 and 0" in error.message
    known = refusal(tmp_path, first, model=model, tuning=tuning)
    assert "no new class: tiny@1 knows dots, lines, plain already" in known.message
