"""Classes of unequal size and soft labels, by the training command's own pipeline."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from medvit.data.manifest import read_manifest, write_manifest
from medvit.errors import ConfigError
from medvit.learn.fit import EpochReport
from medvit.models.heads.classify import DefectClassifier
from medvit.models.weights import load_model
from medvit.workspace import Workspace
from pipelines import train
from pipelines.classifying.config import ClassifyConfig
from pipelines.config import check_config
from tests.make.surface import CLASSES, write_surface_set

NAMES = tuple(sorted(CLASSES))
PLAIN = {"name": "cross_entropy"}


def tail_set(folder: Path, *, rare: int = 3) -> Path:
    """Write images, of the last class only so many in split train."""
    folder.mkdir(parents=True, exist_ok=True)
    file = write_surface_set(folder, per_split={"train": 8, "val": 2, "test": 2})
    rows, left = [], rare
    for row in read_manifest(file).rows:
        if row.split == "train" and row.label == NAMES[-1]:
            left -= 1
            if left < 0:
                continue
        rows.append(row)
    write_manifest(file, rows)
    return file


def config(manifest: Path, **changes: Any) -> ClassifyConfig:
    values: dict[str, Any] = {
        "task": "classify",
        "data": {"manifest": str(manifest), "side_px": 32},
        "model": {"name": "tiny", "backbone": "cnn_small"},
        "train": {"epochs": 1, "batch_size": 9, "lr": 1e-3},
        "views": {"side_px": 32},
        **changes,
    }
    return check_config(ClassifyConfig, values, name="c.yaml")


def head_of(folder: Path) -> torch.nn.Linear:
    module, _ = load_model(folder / "models" / "tiny" / "1")
    assert isinstance(module, DefectClassifier)
    assert isinstance(module.head, torch.nn.Linear)
    return module.head


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": {"name": "ldam_drw", "post_hoc_tau": 1.0}}, "favours rare classes twice"),
        (
            {"loss": {**PLAIN, "post_hoc_tau": 1.0}, "sampler": {"name": "balanced"}},
            "post_hoc_tau=1.0 and sampler.name=balanced both correct",
        ),
        (
            {"loss": {"name": "logit_adjustment"}, "decoupled": {"epochs": 2}},
            "loss.name=logit_adjustment and decoupled.epochs=2 both correct",
        ),
        (
            {"loss": PLAIN, "sampler": {"name": "square_root"}, "decoupled": {"epochs": 2}},
            "sampler.name=square_root and decoupled.epochs=2 both correct",
        ),
        (
            {"loss": PLAIN, "tuning": {"method": "prototype"}, "decoupled": {"epochs": 2}},
            "is for a head that was trained",
        ),
    ],
)
def test_a_tail_is_corrected_once(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config(tmp_path / "m.csv", **changes)


@pytest.mark.slow
def test_a_correction_after_training_is_a_part_of_the_bias(tmp_path: Path) -> None:
    file = tail_set(tmp_path / "data")
    loss = {**PLAIN, "post_hoc_tau": 1.0}
    train.run(config(file, loss=PLAIN), Workspace(tmp_path / "plain"))
    answer = train.run(config(file, loss=loss), Workspace(tmp_path / "after"))
    before, after = head_of(tmp_path / "plain"), head_of(tmp_path / "after")
    assert torch.equal(before.weight, after.weight)
    expected = [-math.log(count / 19) for count in (8, 8, 3)]
    torch.testing.assert_close(after.bias - before.bias, torch.tensor(expected))
    best, _ = load_model(Path(answer["run"]) / "weights" / "best")
    torch.testing.assert_close(best.state_dict()["head.bias"], after.bias.data)  # one epoch
    assert answer["metrics"]["by_frequency"]["few"]["n"] == 6


@pytest.mark.slow
def test_a_head_is_learnt_anew_on_a_backbone_that_stays(tmp_path: Path) -> None:
    file = tail_set(tmp_path / "data")
    train.run(config(file, loss=PLAIN), Workspace(tmp_path / "plain"))
    found = config(file, loss=PLAIN, decoupled={"epochs": 2, "lr": 1e-2})
    answer = train.run(found, Workspace(tmp_path / "anew"))
    assert answer["metrics"]["epochs"] == 3
    plain, _ = load_model(tmp_path / "plain" / "models" / "tiny" / "1")
    anew, _ = load_model(tmp_path / "anew" / "models" / "tiny" / "1")
    for key, value in plain.state_dict().items():
        assert torch.equal(value, anew.state_dict()[key]) == key.startswith("backbone."), key
    rows = (Path(answer["run"]) / "results.csv").read_text(encoding="utf-8").splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2", "3"]


@pytest.mark.slow
def test_soft_labels_are_learnt_as_they_are(tmp_path: Path) -> None:
    file = tail_set(tmp_path / "data")
    shares = {name: tuple(0.8 if other == name else 0.1 for other in NAMES) for name in NAMES}
    rows = [replace(row, soft=shares[row.label]) for row in read_manifest(file).rows]
    write_manifest(file, rows, NAMES)
    answer = train.run(config(file), Workspace(tmp_path / "w"))
    record = json.loads((Path(answer["run"]) / "run.json").read_text(encoding="utf-8"))
    assert record["metrics"]["per_class"] == answer["metrics"]["per_class"]
    # No answer does better on shares of 0.8, 0.1, 0.1 than these shares themselves.
    assert answer["metrics"]["nll"] >= -(0.8 * math.log(0.8) + 0.2 * math.log(0.1)) - 1e-6
    _, card = load_model(tmp_path / "w" / "models" / "tiny" / "1")
    assert card.training["class_counts"]["dots"] == pytest.approx(0.8 * 8 + 0.1 * 11, abs=1e-4)


def refusal(found: ClassifyConfig, folder: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        train.run(found, Workspace(folder / "w"))
    return caught.value


def test_classes_that_cannot_be_learnt_are_named_before_anything_is_written(
    tmp_path: Path,
) -> None:
    error = refusal(config(tail_set(tmp_path, rare=1)), tmp_path)
    assert "one training image is too little for plain (tuning.method=full" in error.message
    assert "tuning.method=prototype" in error.hint
    file = tail_set(tmp_path, rare=3)
    listed = {"manifest": str(file), "side_px": 32, "classes": ["dots", "lines"]}
    error = refusal(config(file, data=listed), tmp_path)
    assert "plain-train-0.png is labelled 'plain', which is none of the 2 classes" in error.message
    listed = {**listed, "classes": ["dots", "lines", "plain", "rust"]}
    error = refusal(config(file, data=listed), tmp_path)
    assert "classes without a training image: rust" in error.message
    rows = [replace(row, soft=(0.5, 0.5, 0.0, 0.0)) for row in read_manifest(file).rows]
    write_manifest(file, rows, ("dots", "lines", "plain", "rust"))
    error = refusal(config(file), tmp_path)
    assert "classes without a training image: plain, rust" in error.message
    assert not (tmp_path / "w").exists()


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    file = tail_set(tmp_path / "data")
    seen: list[EpochReport] = []
    training = {"epochs": 5, "batch_size": 9, "lr": 1e30, "warmup_epochs": 0}
    with pytest.raises(ConfigError, match=r"the loss is (nan|inf) in epoch \d, step \d+") as caught:
        train.run(config(file, train=training), Workspace(tmp_path / "w"), progress=seen.append)
    assert "at a learning rate of 9.76e+29; the training was stopped" in caught.value.message
    assert "lower train.lr" in caught.value.hint
    assert not (tmp_path / "w" / "models").exists()
