from __future__ import annotations

import numpy as np
import pytest

from medvit.metrics.classification import bootstrap_classification, score_classification
from medvit.metrics.label_figures import JudgedImage, measure_labels

NAMES = ("ash", "pit", "slag")


def judged(count: int, *, rng: np.random.Generator, groups: int) -> list[JudgedImage]:
    truth = rng.integers(3, size=count)
    guess = np.where(rng.random(count) < 0.7, truth, rng.integers(3, size=count))
    return [
        JudgedImage(f"{n}.png", NAMES[a], NAMES[b], float(p), f"g{n % groups}")
        for n, (a, b, p) in enumerate(zip(truth, guess, rng.random(count), strict=True))
    ]


def test_a_draw_is_a_set_in_which_groups_stand_as_often_as_drawn() -> None:
    images = judged(12, rng=np.random.default_rng(3), groups=4)
    truth, predicted = [i.label for i in images], [i.predicted for i in images]
    groups = [i.group for i in images]
    found = bootstrap_classification(
        truth, predicted, groups=groups, rng=np.random.default_rng(9), rounds=40
    )
    rng = np.random.default_rng(9)
    figures = []
    for _ in range(40):
        drawn = [i for at in rng.integers(4, size=4) for i in images if i.group == f"g{at}"]
        scores = score_classification(
            [i.label for i in drawn], [i.predicted for i in drawn], classes=NAMES
        )
        figures.append([scores[name] for name in found])
    ordered = np.sort(figures, axis=0)
    np.testing.assert_allclose(list(found.values()), np.column_stack([ordered[1], ordered[39]]))


def test_images_of_a_group_are_no_independent_trials() -> None:
    images = judged(200, rng=np.random.default_rng(0), groups=200)
    copies = [
        JudgedImage(f"{i.path}-{n}", i.label, i.predicted, i.probability, i.group)
        for i in images
        for n in range(5)
    ]
    alone = measure_labels(images, rounds=200, seed=1)
    often = measure_labels(copies, rounds=200, seed=1)
    assert often.scores["n"] == 1000
    for name, edges in often.intervals.items():
        assert edges == pytest.approx(alone.intervals[name])
    assert (often.groups, often.scores["accuracy"]) == (200, alone.scores["accuracy"])


def test_the_same_seed_gives_the_same_answer() -> None:
    images = judged(30, rng=np.random.default_rng(2), groups=10)
    first = measure_labels(images, rounds=50, seed=7).answer()
    assert first == measure_labels(images, rounds=50, seed=7).answer()
    low, high = first["accuracy_interval"]
    assert low < first["accuracy"] < high
    assert first != {**measure_labels(images, rounds=50, seed=8).answer(), "seed": 7}
