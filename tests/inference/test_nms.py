from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.inference.nms import suppress_near

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
