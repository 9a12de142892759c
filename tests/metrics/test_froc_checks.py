from __future__ import annotations

from collections.abc import Sequence

import pytest

from medvit.errors import InputError
from medvit.metrics.froc_checks import check_axes, check_scans
from medvit.metrics.froc_matching import Annotation, Mark, match_scans
from medvit.metrics.luna16_csv import Table

NODULES = [Annotation("a", 60, -30, 10, 8), Annotation("b", -40, 55, 20, 8)]


def marks_of(*uids: str) -> Table[Mark]:
    rows = [Mark(uid, 0, 0, 0, 0.5) for uid in uids]
    return Table("p.csv", rows, [2 + number for number in range(len(rows))])


def nodules_of(*uids: str) -> Table[Annotation]:
    rows = [Annotation(uid, 0, 0, 0, 5) for uid in uids]
    return Table("a.csv", rows, [2 + number for number in range(len(rows))])


def listed(*uids: str) -> Table[str]:
    return Table("s.csv", list(uids), [1 + number for number in range(len(uids))])


def test_scans_that_fit_need_no_word() -> None:
    assert check_scans(marks_of("a", "b"), nodules_of("a", "far"), listed("a", "b")) == []


def test_marks_outside_the_list_are_counted_and_the_first_is_named() -> None:
    marks = marks_of("a", "x", "y", "x")
    assert check_scans(marks, nodules_of("a"), listed("a")) == [
        "p.csv, line 3: series x is not in s.csv (marks not counted: 3, in scans: 2)"
    ]


def test_scans_without_a_mark_are_named() -> None:
    assert check_scans(marks_of("a"), nodules_of("a"), listed("c", "b", "a")) == [
        "p.csv: 2 of 3 scans have no mark, among them b; nodules in them are missed"
    ]


def test_without_a_list_it_is_said_which_scans_count() -> None:
    notes = check_scans(marks_of("a", "b"), nodules_of("a", "c"), None)
    assert notes[0].startswith("no list of scans: the 3 scans of the two files count")
    assert notes[1].startswith("p.csv: 1 of 3 scans have no mark, among them c")


def test_a_list_of_other_scans_is_refused() -> None:
    with pytest.raises(InputError, match=r"line 2: series a is not in s.csv, and neither is any"):
        check_scans(marks_of("a"), nodules_of("z"), listed("z"))
    with pytest.raises(InputError, match=r"a.csv: not one of its annotations lies in a scan of s"):
        check_scans(marks_of("z"), nodules_of("a"), listed("z"))


def notes_on(places: Sequence[tuple[float, float, float]]) -> list[str]:
    pairs = zip(NODULES, places, strict=True)
    marks = [Mark(nodule.series_uid, *place, 0.9) for nodule, place in pairs]
    return check_axes(marks, NODULES, match_scans(marks, NODULES))


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ([(-60, 30, 10), (40, -55, 20)], "x and y have the opposite sign (RAS in place of LPS)"),
        ([(-60, -30, 10), (40, 55, 20)], "x has the opposite sign"),
        ([(60, 30, 10), (-40, -55, 20)], "y has the opposite sign"),
        ([(10, -30, 60), (20, 55, -40)], "x and z are swapped"),
    ],
)
def test_turned_axes_are_told_apart(places: list[tuple[float, float, float]], said: str) -> None:
    (note,) = notes_on(places)
    assert f"2 of 2 nodules are hit only if {said}; LUNA16 wants patient LPS mm" in note


def test_a_weak_detector_is_no_mistake_of_axes() -> None:
    assert notes_on([(0, 0, 0), (1, 1, 1)]) == []
    assert notes_on([(60, -30, 10), (40, -55, 20)]) == []  # only one of two is missed
    assert notes_on([(-60, 30, 10), (1, 1, 1)]) == []  # only one of two gains
