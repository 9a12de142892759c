from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis.strategies import floats, integers, lists, tuples

from medvit.data.annotations.agreement import ReaderMark, agree

Row = tuple[int, float, float]


def mark(reader: int, x: float, diameter: float = 6.0) -> ReaderMark:
    return ReaderMark(reader, (x, 0.0, 0.0, diameter), f"reader {reader} at {x:g}")


def test_three_of_four_readers_make_a_nodule() -> None:
    found = agree([mark(1, 0), mark(2, 2), mark(3, 4, 12), mark(1, 50), mark(4, 52)])
    assert [(each.xyzd_mm, each.readers, each.is_nodule) for each in found] == [
        ((2.0, 0.0, 0.0, 8.0), 3, True),
        ((51.0, 0.0, 0.0, 6.0), 2, False),
    ]
    assert found[1].source == "reader 1 at 50"


def test_a_reader_counts_once() -> None:
    found = agree([mark(1, 0), mark(1, 3), mark(2, 5)])
    assert [(each.readers, each.is_nodule) for each in found] == [(2, False)]


def test_marks_merge_only_when_closer_than_their_radii_together() -> None:
    assert len(agree([mark(1, 0, 4), mark(2, 4.999, 6)])) == 1
    assert len(agree([mark(1, 0, 4), mark(2, 5.0, 6)])) == 2
    assert agree([]) == ()


@given(lists(tuples(integers(1, 4), floats(0, 100), floats(3, 30)), min_size=1, max_size=12))
def test_the_order_of_marks_changes_no_finding(rows: list[Row]) -> None:
    marks = [mark(*row) for row in rows]
    ways = [agree(marks), agree(marks[::-1])]
    forward, backward = (
        sorted((each.readers, *np.round(each.xyzd_mm, 6).tolist()) for each in way) for way in ways
    )
    np.testing.assert_allclose(forward, backward, atol=2e-6)
    assert len(ways[0]) <= len(marks)
