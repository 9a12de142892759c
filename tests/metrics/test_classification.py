"""Classification scores by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.metrics.classification import score_classification, wilson_interval

LABELS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1)


def test_three_classes_by_hand() -> None:
    scores = score_classification(list("aaaabbc"), list("aaabbba"), classes="abc")
    assert scores["confusion"] == [[3, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert scores["accuracy"] == pytest.approx(5 / 7)
    assert scores["balanced_accuracy"] == pytest.approx((3 / 4 + 1 + 0) / 3)
    assert scores["per_class"]["a"]["precision"] == pytest.approx(3 / 4)
    assert scores["per_class"]["b"]["f1"] == pytest.approx(0.8)
    assert scores["macro_f1"] == pytest.approx((0.75 + 0.8 + 0) / 3)
    assert scores["n"] == 7


def test_a_class_that_does_not_occur_is_left_out_of_the_means() -> None:
    scores = score_classification(["a", "b"], ["a", "b"], classes="abc")
    assert scores["balanced_accuracy"] == 1.0
    assert scores["macro_f1"] == 1.0
    assert scores["per_class"]["c"]["n"] == 0


def test_a_class_that_is_only_guessed_lowers_macro_f1() -> None:
    scores = score_classification(["a", "a"], ["a", "c"], classes="abc")
    assert scores["balanced_accuracy"] == 0.5
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)


@given(pairs=LABELS)
def test_balanced_accuracy_does_not_change_when_images_are_doubled(
    pairs: list[tuple[str, str]],
) -> None:
    truth, guess = zip(*pairs, strict=True)
    once = score_classification(truth, guess, classes="abc")
    twice = score_classification(truth * 2, guess * 2, classes="abc")
    assert twice["balanced_accuracy"] == pytest.approx(once["balanced_accuracy"])
    assert sum(map(sum, twice["confusion"])) == 2 * len(pairs)


def test_an_unknown_label_is_named() -> None:
    with pytest.raises(ValueError, match="found z"):
        score_classification(["a"], ["z"], classes="ab")


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(ValueError, match="got 0, 0"):
        score_classification([], [], classes="ab")


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (0, 0, 0, 1)]
)
def test_wilson_intervals_by_the_book(hits: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(hits, trials) == pytest.approx((low, high), abs=1e-4)
