"""Training on labels that may be wrong, by the command's own pipeline."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from medvit.data.manifest import ManifestRow, read_manifest, write_manifest
from medvit.errors import ConfigError
from medvit.learn.fit import EpochReport, Progress
from medvit.models.weights import load_model
from medvit.workspace import Workspace
from pipelines import train
from pipelines.classifying.config import ClassifyConfig
from pipelines.config import check_config
from tests.make.surface import CLASSES, write_surface_set

NAMES = tuple(sorted(CLASSES))
SPLITS = {"train": 10, "val": 3, "test": 2}


def surface_set(folder: Path, *, wrong: int = 2, **changes: Any) -> Path:
    """Write images, of each class so many with the next class's label in split train."""
    folder.mkdir(parents=True, exist_ok=True)
    file = write_surface_set(folder, per_split={**SPLITS, **changes})
    left = dict.fromkeys(NAMES, wrong)
    rows = []
    for row in read_manifest(file).rows:
        label = row.label
        if row.split == "train" and left[label]:
            left[label] -= 1
            label = NAMES[(NAMES.index(label) + 1) % len(NAMES)]
        rows.append(ManifestRow(row.path, label, row.split, row.group))
    write_manifest(file, rows)
    return file


def config(manifest: Path, **changes: Any) -> ClassifyConfig:
    values: dict[str, Any] = {
        "task": "classify",
        "data": {"manifest": str(manifest), "side_px": 32},
        "model": {"name": "tiny", "backbone": "cnn_small"},
        "train": {"epochs": 3, "batch_size": 15, "lr": 1e-3, "warmup_epochs": 0.5},
        "views": {"side_px": 32},
        **changes,
    }
    return check_config(ClassifyConfig, values, name="c.yaml")


def trained(
    found: ClassifyConfig, folder: Path, progress: Progress | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    answer = train.run(found, Workspace(folder), progress=progress)
    record = json.loads((Path(answer["run"]) / "run.json").read_text(encoding="utf-8"))
    version = str(answer["model"]).replace("@", "/")
    module, _ = load_model(folder / "models" / version)
    return record, module.state_dict()


METHODS = {
    "co_teaching": {"method": "co_teaching", "ramp_epochs": 2},
    "dividemix": {"method": "dividemix", "warm_up_epochs": 1, "ramp_epochs": 2, "rate": 0.4},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_killed_training_of_two_networks_ends_with_the_very_same_weights(
    tmp_path: Path, name: str
) -> None:
    found = config(surface_set(tmp_path / "data"), noise=METHODS[name])

    def kill(report: EpochReport) -> None:
        if report.epoch == 3:
            raise KeyboardInterrupt

    record, whole = trained(found, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(found, tmp_path / "parts", kill)
    again, parts = trained(found, tmp_path / "parts")
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())
    assert again["noise"] == record["noise"]
    said = record["noise"]
    assert said["method"] == name
    first, second = said["val_losses"]
    assert said["ships"] == ("second" if second < first else "first") + " of two networks"
    assert record["metrics"]["by_frequency"]["few"]["classes"] == list(NAMES)
    if name == "co_teaching":
        assert said["source"] == "texture, 5 folds by group"
        assert said["rate"] == pytest.approx(0.2, abs=0.07)
        assert said["interval"][0] < 0.2 < said["interval"][1]
    else:
        assert (said["rate"], said["guess_weight"]) == (0.4, 25.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": {"name": "focal"}}, "loss.name=focal is not; set loss.name to one of cross_ent"),
        (
            {"sampler": {"name": "balanced"}, "loss": {"name": "cross_entropy"}},
            "holds classes to their share of the images",
        ),
        ({"mixing": {"method": "mixup"}}, "judges each image by itself"),
        ({"tuning": {"method": "gradual"}}, "trains two networks, which tuning.method=gradual"),
        ({"noise": {"method": "co_teaching", "rate": 0.7}}, "must be auto or 0 to 0.5"),
        (
            {"decoupled": {"epochs": 2}, "loss": {"name": "cross_entropy"}},
            "those that noise.method=co_teaching left out",
        ),
    ],
)
def test_what_two_networks_cannot_do_is_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    values = {"noise": {"method": "co_teaching"}, **changes}
    with pytest.raises(ConfigError, match=words):
        config(tmp_path / "m.csv", **values)


def refusal(found: ClassifyConfig, folder: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        train.run(found, Workspace(folder / "w"))
    assert not (folder / "w").exists()
    return caught.value


NOISY = {"method": "co_teaching"}


def test_more_than_half_of_the_labels_wrong_is_refused_with_the_interval(tmp_path: Path) -> None:
    file = surface_set(tmp_path, val=0, test=0)
    rows = read_manifest(file).rows
    write_manifest(file, [replace(row, label=NAMES[n % 3]) for n, row in enumerate(rows)])
    error = refusal(config(file, noise=NOISY), tmp_path)
    assert "of the labels seem wrong (" in error.message
    assert "more than one half" in error.message
    assert "medvit labels suspects" in error.hint


def test_a_class_whose_labels_are_all_wrong_is_named(tmp_path: Path) -> None:
    file = surface_set(tmp_path, wrong=0, val=0, test=0, train=40)
    rows = []
    for number, row in enumerate(read_manifest(file).rows):
        label = "lines" if row.label == "plain" else row.label
        if row.label == "dots" and number < 10:
            label = "plain"
        rows.append(ManifestRow(row.path, label, row.split, row.group))
    write_manifest(file, rows)
    error = refusal(config(file, noise=NOISY), tmp_path)
    assert "all 10 labels 'plain' seem wrong, most look like 'dots'" in error.message


@pytest.mark.parametrize("method", ["co_teaching", "prune"])
def test_soft_labels_are_refused_by_methods_that_ask_which_are_wrong(
    tmp_path: Path, method: str
) -> None:
    file = surface_set(tmp_path)
    rows = read_manifest(file).rows
    write_manifest(file, [replace(row, soft=(0.2, 0.3, 0.5)) for row in rows], NAMES)
    error = refusal(config(file, noise={"method": method}), tmp_path)
    assert "soft labels say themselves how sure they are" in error.message


@pytest.mark.parametrize(
    ("method", "hint"), [("co_teaching", "noise.rate=0.2"), ("prune", "noise.method=none")]
)
def test_one_group_of_images_is_too_little_to_estimate_from(
    tmp_path: Path, method: str, hint: str
) -> None:
    file = surface_set(tmp_path, val=0, test=0)
    rows = read_manifest(file).rows
    write_manifest(file, [replace(row, group="strip") for row in rows])
    error = refusal(config(file, noise={"method": method}), tmp_path)
    assert "labels are judged by images of other groups, got 1 group" in error.message
    assert hint in error.hint
