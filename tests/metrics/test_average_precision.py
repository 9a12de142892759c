from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from medvit.metrics.average_precision import (
    RULES,
    Rule,
    bootstrap_ap,
    coco_ap,
    curve_of,
    mean_ap,
    score_class,
    voc2007_ap,
    voc2012_ap,
)
from medvit.metrics.detection_matching import ClassMatches

RECALL = np.array([0.25, 0.25, 0.5, 0.5, 0.75])
PRECISION = np.array([1, 1 / 2, 2 / 3, 1 / 2, 3 / 5])


def matches_of(
    hits: Sequence[int], truths: Sequence[float], images: Sequence[int] | None = None
) -> ClassMatches:
    """Return one class: what each box is, best first (1 hit, 0 false, -1 ignored)."""
    what = np.tile(np.array(hits, dtype=int), (10, 1))
    image = np.array(images if images is not None else [0] * len(hits), dtype=np.intp)
    score = np.linspace(1, 0.1, len(hits)) if hits else np.empty(0)
    return ClassMatches(score, image, what == 1, what == -1, np.array(truths, dtype=np.float64))


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (coco_ap, (26 * 1 + 25 * 2 / 3 + 25 * 3 / 5) / 101),
        (voc2007_ap, (3 * 1 + 3 * 2 / 3 + 2 * 3 / 5) / 11),
        (voc2012_ap, 0.25 * 1 + 0.25 * 2 / 3 + 0.25 * 3 / 5),
    ],
)
def test_three_definitions_by_hand(rule: Rule, wanted: float) -> None:
    assert rule(RECALL, PRECISION) == pytest.approx(wanted, abs=1e-12)


def test_a_recall_of_three_in_ten_reaches_the_third_step_of_voc2007() -> None:
    assert voc2007_ap(np.array([0.1, 0.2, 3 / 10]), np.ones(3)) == pytest.approx(4 / 11)


@pytest.mark.parametrize("name", list(RULES))
def test_a_perfect_detector_has_1_and_an_empty_one_0(name: str) -> None:
    assert score_class(matches_of([1, 1], [2]), RULES[name]).ap50_95 == pytest.approx(1)
    assert score_class(matches_of([], [2]), RULES[name]).ap50_95 == 0.0
    assert score_class(matches_of([0, 0], [2]), RULES[name]).ap50 == 0.0


def test_recall_and_precision_by_hand() -> None:
    recall, precision = curve_of(matches_of([1, 0, -1, 1], [4]))
    np.testing.assert_allclose(recall, [0.25, 0.25, 0.5])
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3])


def test_a_class_without_true_boxes_is_not_in_the_mean() -> None:
    scores = [score_class(matches_of(hits, [n]), coco_ap) for hits, n in (([0], 0), ([1], 1))]
    assert (scores[0].ap50, scores[0].ap50_95, scores[0].predicted) == (None, None, 1)
    np.testing.assert_allclose(mean_ap(scores), np.ones(10))
    assert np.isnan(mean_ap(scores[:1])).all()


@pytest.mark.parametrize("rule", RULES.values())
def test_a_weight_counts_an_image_often_or_not_at_all(rule: Rule) -> None:
    matches = matches_of([1, 0, 1, 0, 1], [2, 3], images=[0, 1, 1, 0, 0])
    without = score_class(matches, rule, weight=np.array([1.0, 0.0]))
    alone = score_class(matches_of([1, 0, 1], [2]), rule)
    np.testing.assert_allclose(without.ap, alone.ap)
    recall, precision = curve_of(matches, weight=np.array([2.0, 1.0]))
    np.testing.assert_allclose(recall, np.array([2, 2, 3, 3, 5]) / 7)
    np.testing.assert_allclose(precision, [2 / 2, 2 / 3, 3 / 4, 3 / 6, 5 / 8])


def test_groups_are_drawn_whole_and_the_draws_replay() -> None:
    rng = np.random.default_rng(0)
    images = np.sort(rng.integers(20, size=60))
    hits = (rng.random(60) < 0.6).astype(int).tolist()
    matches = [matches_of(hits, [2] * 20, images=rng.permutation(images).tolist())]
    single, pairs = np.arange(20), np.arange(20) // 10

    def edges(groups: NDArray[np.intp]) -> NDArray[np.float64]:
        drawn = bootstrap_ap(
            matches, coco_ap, groups=groups, rng=np.random.default_rng(4), rounds=100
        )
        return np.array(drawn)[:, -1, 0]

    low, high = edges(single)
    point = score_class(matches[0], coco_ap).ap50
    assert point is not None
    assert low < point < high
    np.testing.assert_array_equal(edges(single), [low, high])
    # Two groups allow three different draws.
    assert edges(pairs).tolist() != [low, high]


def test_one_group_gives_an_interval_without_width() -> None:
    matches = [matches_of([1, 0, 1], [2, 1], images=[0, 0, 1]), matches_of([0], [0, 0], images=[1])]
    low, high = bootstrap_ap(
        matches, coco_ap, groups=np.zeros(2, np.intp), rng=np.random.default_rng(0), rounds=40
    )
    point = score_class(matches[0], coco_ap)
    assert low[0].tolist() == pytest.approx([point.ap50, point.ap50_95])
    np.testing.assert_array_equal(low[[0, 2]], high[[0, 2]])
    assert np.isnan(low[1]).all()
