"""Targets from manifests, and the classes that are learnt."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from medvit.data.labelled import LabelledImages, load_labelled, targets_of, training_classes
from medvit.data.manifest import Manifest, ManifestRow
from medvit.errors import ConfigError
from tests.make.surface import write_surface_set

FILE = Path("m.csv")


def rows(*labels_and_splits: tuple[str, str]) -> tuple[ManifestRow, ...]:
    return tuple(
        ManifestRow(f"{index}", label, split, "")
        for index, (label, split) in enumerate(labels_and_splits)
    )


def test_classes_are_those_of_the_training_rows_sorted() -> None:
    manifest = Manifest(FILE, rows(("b", "train"), ("a", "train"), ("", "train"), ("a", "test")))
    assert training_classes(manifest) == ("a", "b")


def test_a_single_class_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"at least 2 classes in split train, found 1: only"):
        training_classes(Manifest(FILE, rows(("only", "train"), ("only", "test"))))


def test_a_class_that_is_only_tested_is_refused() -> None:
    manifest = Manifest(FILE, rows(("a", "train"), ("b", "train"), ("c", "test")))
    with pytest.raises(ConfigError, match="without a training image: c"):
        training_classes(manifest)


def test_hard_labels_become_indices() -> None:
    found = rows(("b", "train"), ("a", "train"))
    targets = targets_of(Manifest(FILE, found), found, classes=("a", "b"))
    assert targets.tolist() == [1, 0]


def test_one_soft_row_makes_all_targets_probabilities() -> None:
    found = (ManifestRow("x", "a", "train", ""), ManifestRow("y", "", "train", "", (0.25, 0.75)))
    targets = targets_of(Manifest(FILE, found, ("b", "a")), found, classes=("a", "b"))
    assert targets.tolist() == [[1.0, 0.0], [0.75, 0.25]]


def test_soft_targets_count_by_their_share_and_have_labels() -> None:
    soft = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    split = LabelledImages(torch.zeros(2, 4, 4).byte().numpy(), soft, ("x", "y"))
    assert split.counts(classes=2).tolist() == [1.25, 0.75]
    assert split.labels.tolist() == [0, 1]


def test_a_label_outside_the_classes_is_named() -> None:
    found = rows(("z", "train"))
    with pytest.raises(ValueError, match="one of a, b, got 'z'"):
        targets_of(Manifest(FILE, found), found, classes=("a", "b"))


def test_a_split_is_loaded_without_its_unlabelled_rows(tmp_path: Path) -> None:
    write_surface_set(tmp_path, per_split={"train": 2})
    manifest = Manifest(
        FILE,
        (
            ManifestRow("dots-train-0.png", "dots", "train", ""),
            ManifestRow("dots-train-1.png", "", "train", ""),
        ),
    )
    split = load_labelled(manifest, "train", root=tmp_path, side_px=32, classes=("dots", "lines"))
    assert split.paths == ("dots-train-0.png",)
    assert split.images.shape == (1, 32, 32)
