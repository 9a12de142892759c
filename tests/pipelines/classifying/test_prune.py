"""Training without the labels that are likely wrong."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medvit.data.manifest import read_manifest, write_manifest
from medvit.errors import ConfigError
from medvit.learn.noise.evidence import weigh_labels
from medvit.learn.tuning import spread
from medvit.models.card import read_card
from medvit.workspace import Workspace
from pipelines.classifying.prepare import prepare
from pipelines.classifying.prune import doubted
from tests.make.surface import write_surface_set
from tests.pipelines.classifying.test_noisy import config, surface_set, trained

PRUNE = {"method": "prune"}
SPREAD = {"method": "prototype", "prototype": "spread"}


def wrong_ones(folder: Path) -> set[tuple[str, str]]:
    """Return path and label of the images that `surface_set` labelled wrongly."""
    given = read_manifest(surface_set(folder / "given")).rows
    (folder / "right").mkdir()
    right = read_manifest(write_surface_set(folder / "right", per_split={"train": 10})).rows
    labels = {row.path: row.label for row in right}
    return {(row.path, row.label) for row in given if labels.get(row.path, row.label) != row.label}


@pytest.mark.slow
@pytest.mark.parametrize("tuning", [{"method": "full"}, SPREAD], ids=["full", "spread"])
def test_labels_that_are_likely_wrong_are_left_out_and_listed(
    tmp_path: Path, tuning: dict[str, str]
) -> None:
    wrong = wrong_ones(tmp_path)
    assert len(wrong) == 6
    (manifest,) = (tmp_path / "given").glob("*.csv")
    loss = {"name": "cross_entropy"}
    found = config(manifest, noise=PRUNE, tuning=tuning, loss=loss)
    record, _ = trained(found, tmp_path / "w")
    said = record["noise"]
    run = tmp_path / "w/runs/train/1"
    with (run / "left_out.csv").open(encoding="utf-8") as stream:
        listed = {(row["path"], row["label"]) for row in csv.DictReader(stream)}
    assert said["left_out"] == sum(said["left_out_by_class"].values()) == len(listed)
    assert len(listed & wrong) >= 5
    assert len(listed - wrong) <= 2
    card = read_card(tmp_path / "w/models/tiny/1")
    assert card.training["images"]["train"] == 30 - len(listed)
    if tuning == SPREAD:
        assert card.training["labels_spread"]["spread"] == len(listed)


def test_a_given_rate_leaves_out_as_many_and_no_class_is_emptied() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [40, 40, 3])
    features = random.normal(size=(83, 8)) + np.eye(3, 8)[labels] * 6
    features[80:] = random.normal(size=(3, 8)) + np.eye(3, 8)[0] * 6  # class 2 looks like class 0
    evidence = weigh_labels([features], labels, groups=[str(n) for n in range(83)])
    left_out = doubted(evidence, labels, rate=0.1)
    assert (labels[left_out] == 2).sum() == 1
    assert len(left_out) == round(0.1 * 83) - 2  # two of the three were spared
    assert (labels[doubted(evidence, labels)] == 2).sum() <= 1


def test_a_class_that_is_added_has_too_few_images_to_be_judged(tmp_path: Path) -> None:
    tuning = {"method": "prototype", "keep_classes": True}
    model = {"name": "tiny", "backbone": "cnn_small", "weights": "steel-defects"}
    changes: dict[str, Any] = {"noise": PRUNE, "tuning": tuning, "model": model}
    with pytest.raises(ConfigError, match="of which a new class beside old ones has too few"):
        config(tmp_path / "m.csv", **changes)


def test_spreading_counts_the_images_whose_labels_were_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "MOST_IMAGES", 32)
    file = surface_set(tmp_path / "given", val=0, test=0)
    extra = [
        replace(row, path=f"../given/{row.path}", label="") for row in read_manifest(file).rows
    ]
    write_manifest(file, [*read_manifest(file).rows, *extra[:9]])
    found = config(file, noise={**PRUNE, "rate": 0.2}, tuning=SPREAD)
    prepared = prepare(found, Workspace(tmp_path / "w"))
    assert prepared.pruned is not None
    assert prepared.unlabelled is not None
    left_out = len(prepared.pruned.left_out.paths)
    assert left_out == 6
    assert len(prepared.unlabelled) == left_out + 2  # of the nine without a label
    assert len(prepared.splits["train"].paths) + len(prepared.unlabelled) == 32


def test_other_corrections_go_along_with_pruning(tmp_path: Path) -> None:
    loss = {"name": "cross_entropy"}
    found = config(tmp_path / "m.csv", noise=PRUNE, sampler={"name": "balanced"}, loss=loss)
    assert (found.noise.method, found.sampler.name) == ("prune", "balanced")
    assert config(tmp_path / "m.csv", noise=PRUNE, mixing={"method": "mixup"}).noise.rate == "auto"
