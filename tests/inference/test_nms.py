from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.inference.nms import suppress_near, suppress_overlaps

Floats = npt.NDArray[np.float64]


def slow_suppress(centres: Floats, diameters: Floats, scores: Floats) -> list[int]:
    def rank(i: int) -> tuple[float, ...]:
        return (-scores[i], *centres[i], diameters[i])

    kept: list[int] = []
    for i in sorted(range(len(scores)), key=rank):
        near = [
            k
            for k in kept
            if np.sqrt(((centres[i] - centres[k]) ** 2).sum()) < max(diameters[i], diameters[k]) / 2
        ]
        if not near:
            kept.append(i)
    return kept


@st.composite
def marks(draw: st.DrawFn) -> tuple[Floats, Floats, Floats]:
    count = draw(st.integers(0, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return (
        rng.integers(0, 12, (count, 3)).astype(np.float64),
        rng.integers(1, 12, count).astype(np.float64),
        rng.integers(0, 5, count) / 4,
    )


@given(marks())
def test_it_equals_the_slow_reference(drawn: tuple[Floats, Floats, Floats]) -> None:
    assert suppress_near(*drawn).tolist() == slow_suppress(*drawn)


@given(marks(), st.integers(0, 2**32 - 1))
def test_the_order_of_the_input_does_not_matter(
    drawn: tuple[Floats, Floats, Floats], seed: int
) -> None:
    centres, diameters, scores = drawn
    order = np.random.default_rng(seed).permutation(len(scores))
    kept = suppress_near(*drawn)
    again = order[suppress_near(centres[order], diameters[order], scores[order])]
    for values in (centres, diameters, scores):
        assert (values[kept] == values[again]).all()


@given(marks())
def test_suppressing_twice_changes_nothing(drawn: tuple[Floats, Floats, Floats]) -> None:
    kept = suppress_near(*drawn)
    again = suppress_near(*(values[kept] for values in drawn))
    assert again.tolist() == list(range(len(kept)))


def test_a_mark_exactly_one_radius_away_stays() -> None:
    centres = np.array([[0.0, 0, 0], [4, 0, 0], [0, 3.99, 0]])
    assert suppress_near(centres, np.full(3, 8.0), np.array([0.9, 0.8, 0.7])).tolist() == [0, 1]


def test_scores_without_diameters_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2 scores need .* \(2, 3\) and \(1,\)"):
        suppress_near(np.zeros((2, 3)), np.ones(1), np.ones(2))


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="scores must be finite, got nan"):
        suppress_near(np.zeros((1, 3)), np.ones(1), np.array([np.nan]))


def iou_of(a: Floats, b: Floats) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0) * max(high, 0)
    areas = sum((each[2] - each[0]) * (each[3] - each[1]) for each in (a, b))
    return float(shared / (areas - shared))


@st.composite
def scored_boxes(draw: st.DrawFn) -> tuple[Floats, Floats]:
    count = draw(st.integers(0, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    start = rng.integers(0, 12, (count, 2))
    boxes = np.concatenate([start, start + rng.integers(1, 12, (count, 2))], axis=1)
    return boxes.astype(np.float64), rng.integers(0, 5, count) / 4


@given(scored_boxes())
def test_kept_boxes_lie_apart_and_dropped_ones_under_a_better_one(
    drawn: tuple[Floats, Floats],
) -> None:
    boxes, scores = drawn
    kept = suppress_overlaps(boxes, scores, iou=0.5).tolist()
    for index in range(len(scores)):
        over = [iou_of(boxes[index], boxes[k]) > 0.5 and k != index for k in kept]
        better = [scores[k] >= scores[index] for k in kept]
        assert any(o and b for o, b in zip(over, better, strict=True)) == (index not in kept)
    again = suppress_overlaps(boxes[kept], scores[kept], iou=0.5)
    assert again.tolist() == list(range(len(kept)))


@given(scored_boxes(), st.integers(0, 2**32 - 1))
def test_the_order_of_boxes_does_not_matter(drawn: tuple[Floats, Floats], seed: int) -> None:
    boxes, scores = drawn
    order = np.random.default_rng(seed).permutation(len(scores))
    kept = suppress_overlaps(boxes, scores, iou=0.5)
    again = order[suppress_overlaps(boxes[order], scores[order], iou=0.5)]
    assert (boxes[kept] == boxes[again]).all()
    assert (scores[kept] == scores[again]).all()


def test_boxes_that_are_none_are_refused_with_the_value() -> None:
    with pytest.raises(ValueError, match=r"2 scores need as many boxes .* got shape \(1, 4\)"):
        suppress_overlaps(np.zeros((1, 4)), np.zeros(2), iou=0.5)
    with pytest.raises(ValueError, match="boxes must be finite, got nan"):
        suppress_overlaps(np.array([[0, 0, np.nan, 1]]), np.zeros(1), iou=0.5)
