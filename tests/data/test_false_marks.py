"""The bank of false marks, and the draws that go back to them."""

from __future__ import annotations

import numpy as np
import pytest

from medvit.data.draws import Spot
from medvit.data.false_marks import FADE, FalseMarks, MinedDraws


def test_near_marks_are_one_the_highest_stay_and_old_ones_fade() -> None:
    marks = FalseMarks(most=3)
    marks.add(0, np.array([[0, 10, 10, 10, 0.5], [0, 10, 10, 14, 0.8], [1, 10, 10, 14, 0.4]]))
    assert marks.rows.tolist() == [[0, 10, 10, 14, 0.8], [1, 10, 10, 14, 0.4]]
    marks.add(0, np.array([[0, 50, 50, 50, 0.6], [0, 10, 10, 15, 0.1], [2, 0, 0, 0, 0.01]]))
    expected = [[0, 50, 50, 50, 0.6], [0, 10, 10, 14, 0.8 * FADE], [1, 10, 10, 14, 0.4 * FADE]]
    assert marks.rows == pytest.approx(np.array(expected))
    marks.add(1, np.array([[3, 1, 2, 3, 0.3]]))
    assert (marks.phase, marks.rows.tolist()) == (1, [[3, 1, 2, 3, 0.3]])


def test_the_order_of_what_is_found_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.integers(3, size=60), rng.uniform(0, 40, (60, 3)), rng.random(60)])
    one, two = FalseMarks(20), FalseMarks(20)
    one.add(0, rows)
    two.add(0, rows[::-1])
    assert np.array_equal(one.rows, two.rows)
    assert len(one.rows) == 20


def test_marks_are_drawn_by_their_scores() -> None:
    marks = FalseMarks()
    assert marks.draw(np.random.default_rng(0)) is None
    marks.add(0, np.array([[0, 1, 1, 1, 0.75], [1, 9.4, 9.6, 9, 0.25]]))
    rng = np.random.default_rng(0)
    drawn = [marks.draw(rng) for _ in range(400)]
    assert set(drawn) == {Spot(0, (1, 1, 1)), Spot(1, (9, 10, 9))}
    assert drawn.count(Spot(0, (1, 1, 1))) == pytest.approx(300, abs=30)


def test_a_share_of_the_draws_goes_back_to_marks_of_the_same_phase() -> None:
    marks = FalseMarks()
    draws = MinedDraws(400, marks, hard_share=0.25, seed=3, epochs=2, shares=[0.5, 0.5])
    assert [key.spot for key in draws] == [None] * 400
    marks.add(1, np.array([[4, 1, 1, 1, 0.5]]))
    assert [key.spot for key in draws] == [None] * 400
    draws.set_epoch(1)
    keys = list(draws)
    assert [key.number for key in keys] == list(range(400, 800))
    assert keys == list(draws)
    assert sum(key.spot is not None for key in keys) == pytest.approx(100, abs=25)


def test_a_bank_comes_back_from_a_checkpoint() -> None:
    marks, again = FalseMarks(), FalseMarks()
    marks.add(2, np.array([[4, 1, 1, 1, 0.5]]))
    again.load_state_dict(marks.state_dict())
    assert (again.phase, again.rows.tolist()) == (2, marks.rows.tolist())
