from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import integers
from numpy.typing import NDArray

from medvit.data.boxes.labelled import LabelledBoxes, PredictedBox, TrueBox
from medvit.metrics.detection_matching import ClassMatches, Floats, match_coco
from medvit.metrics.precision_recall import (
    PrecisionRecall,
    boxes_by_threshold,
    curves_for_card,
    one_against_rest,
    thinned,
)


def slow_curve(
    score: Floats, is_true: NDArray[np.bool_], positives: int
) -> list[tuple[float, float, float]]:
    """Count anew at every score: threshold, precision, recall."""
    points = []
    for threshold in sorted({*score.tolist()}):
        named = [bool(true) for each, true in zip(score, is_true, strict=True) if each >= threshold]
        points.append((threshold, sum(named) / len(named), sum(named) / positives))
    return points


def rows_of(curve: PrecisionRecall | None) -> Floats:
    assert curve is not None
    return np.column_stack([curve.threshold, curve.precision, curve.recall])


@given(cases=integers(1, 60), steps=integers(2, 40), seed=integers(0, 2**16))
def test_classes_against_the_rest_are_as_counted_one_by_one(
    cases: int, steps: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    shown = rng.integers(1, steps, size=(cases, 3)) / steps  # few steps: many ties
    labels = rng.integers(3, size=cases)
    for index, curve in enumerate(one_against_rest(shown, labels)):
        is_true = labels == index
        if not is_true.any():
            assert curve is None
            continue
        wanted = slow_curve(shown[:, index], is_true, int(is_true.sum()))
        np.testing.assert_allclose(rows_of(curve), wanted)
        assert curve is not None
        assert (np.diff(curve.threshold) > 0).all()
        assert (np.diff(curve.recall) <= 0).all()


def test_equal_probabilities_are_one_point_by_hand() -> None:
    shown = np.array([[0.8, 0.2], [0.5, 0.5], [0.5, 0.5], [0.1, 0.9]])
    first, second = one_against_rest(shown, np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(rows_of(first), [(0.1, 1 / 2, 1), (0.5, 2 / 3, 1), (0.8, 1, 1 / 2)])
    np.testing.assert_allclose(rows_of(second), [(0.2, 1 / 2, 1), (0.5, 2 / 3, 1), (0.9, 1, 1 / 2)])


def test_a_class_that_is_not_shown_has_no_curve_and_is_not_in_the_card() -> None:
    curves = one_against_rest(np.full((2, 3), 1 / 3), np.array([0, 2]))
    assert curves[1] is None
    card = curves_for_card("test", dict(zip("abc", curves, strict=True)))
    assert {*card["classes"]} == {"a", "c"}
    assert card["split"] == "test"


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0], r"got \(2, 2\) and \(1,\)"),
        ([0, 2], "labels must lie in 0 to 1, got 0 to 2"),
        ([-1, 0], "got -1 to 0"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: list[int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        one_against_rest(np.full((2, 2), 0.5), np.array(labels))


def random_boxes(seed: int) -> tuple[LabelledBoxes, list[PredictedBox]]:
    rng = np.random.default_rng(seed)
    images = tuple(f"{number}.png" for number in range(6))
    true, found = [], []
    for image in range(len(images)):
        for x in rng.choice(8, size=3, replace=False).tolist():
            xywh = (20.0 * x, 0.0, 10.0, 10.0)
            true.append(TrueBox(image, 0, xywh, 100.0, is_crowd=bool(rng.random() < 0.2)))
        for x in rng.integers(8, size=5).tolist():
            score = float(rng.integers(1, 8) / 8)
            found.append(PredictedBox(image, 0, (20.0 * x + 1, 0.0, 10.0, 10.0), score))
    places: dict[Hashable, int] = {name: at for at, name in enumerate(images)}
    labels: dict[Hashable, int] = {"dent": 0, "hole": 1}
    return LabelledBoxes("b", images, ("dent", "hole"), tuple(true), places, labels), found


@pytest.mark.parametrize("seed", range(5))
def test_boxes_that_count_are_as_counted_one_by_one(seed: int) -> None:
    truth, found = random_boxes(seed)
    dents, holes = match_coco(truth, found)
    counts = ~dents.is_ignored[0]
    wanted = slow_curve(dents.score[counts], dents.is_hit[0][counts], int(dents.truths.sum()))
    assert len(wanted) < int(counts.sum())  # there are ties
    np.testing.assert_allclose(rows_of(boxes_by_threshold(dents)), wanted)
    assert boxes_by_threshold(holes) is None


def test_a_class_of_which_no_box_was_found_has_a_curve_without_points() -> None:
    none = np.zeros((10, 0), dtype=bool)
    silent = ClassMatches(np.empty(0), np.empty(0, np.intp), none, none, np.array([2.0, 1.0]))
    curve = boxes_by_threshold(silent)
    card = curves_for_card("test", {"dent": curve})
    assert card["classes"]["dent"] == {"threshold": [], "precision": [], "recall": [], "n": 3}


@given(cases=integers(4, 400), most=integers(3, 50), seed=integers(0, 2**16))
def test_a_thinned_curve_keeps_its_ends_and_its_best_point(
    cases: int, most: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = np.append([0], rng.integers(2, size=cases - 1))
    score = rng.random(cases) * 0.5 + 0.3 * (labels == 0)
    (whole, _) = one_against_rest(np.column_stack([score, 1 - score]), labels)
    assert whole is not None
    thin = thinned(whole, most=most)
    every = rows_of(whole).tolist()
    kept = rows_of(thin).tolist()
    assert len(kept) <= most
    assert all(each in every for each in kept)
    assert (kept[0], kept[-1]) == (every[0], every[-1])
    assert thin.f1.max() == whole.f1.max()
    assert (np.diff(thin.threshold) > 0).all()
    assert thin.positives == whole.positives


def test_a_long_tail_takes_few_points_of_a_thinned_curve() -> None:
    score = np.linspace(0.99, 0.01, 5000)
    labels = np.where(np.arange(5000) < 100, 0, 1)
    (whole, _) = one_against_rest(np.column_stack([score, 1 - score]), labels)
    assert whole is not None
    thin = thinned(whole)
    steps = -np.diff(thin.recall)
    assert 40 <= len(thin.threshold) <= 50
    assert steps.max() < 0.06  # of recall from one point to the next


def test_fewer_than_three_points_are_refused() -> None:
    (curve,) = one_against_rest(np.array([[0.5]]), np.array([0]))
    assert curve is not None
    with pytest.raises(ValueError, match="keeps 3 points or more, got most=2"):
        thinned(curve, most=2)
