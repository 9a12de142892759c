"""Frequent and rare classes apart."""

from __future__ import annotations

import pytest

from medvit.metrics.class_groups import by_frequency
from medvit.metrics.classification import score_classification
from medvit.metrics.label_figures import JudgedImage, measure_labels


def test_groups_are_means_over_classes_by_hand() -> None:
    truth = ["a"] * 4 + ["b"] * 2 + ["c"] * 2 + ["d"]
    guess = ["a", "a", "a", "b", "b", "a", "c", "c", "a"]
    scores = score_classification(truth, guess, classes=("a", "b", "c", "d", "e"))
    counts = {"a": 170.0, "b": 100.0, "c": 20.0, "d": 19.0, "e": 3.0}
    found = by_frequency(scores["per_class"], counts)
    assert found["many"] == {"recall": 0.75, "n": 4, "classes": ["a"]}
    assert found["medium"] == {"recall": 0.75, "n": 4, "classes": ["b", "c"]}
    assert found["few"] == {"recall": 0.0, "n": 1, "classes": ["d"]}  # e is not in the test


def test_an_evaluation_reports_them_where_the_training_is_known() -> None:
    images = [JudgedImage(f"{n}.png", "ab"[n % 2], "a", 0.9, str(n)) for n in range(6)]
    known = measure_labels(images, rounds=40, seed=0, train_counts={"a": 500, "b": 4})
    assert known.answer()["by_frequency"]["few"]["recall"] == 0
    assert known.answer()["by_frequency"]["many"]["recall"] == 1
    assert measure_labels(images, rounds=40, seed=0).answer()["by_frequency"] == {}
    assert known.answer()["balanced_accuracy"] == pytest.approx(0.5)
