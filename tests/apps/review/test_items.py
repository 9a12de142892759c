"""What the panel lists."""

from __future__ import annotations

import pytest

from apps.review.items import WHOLE_CASE, box_data, circles_of, history_of, items_of, percent
from medvit.io.readers import open_volume
from medvit.store.rows import Decision
from tests.apps.review.conftest import CT_ID, IMAGE_ID, Practice
from tests.make.models import CLASSES


def test_a_nodule_is_told_by_slice_diameter_and_place(practice: Practice) -> None:
    case = practice.store.get_case(CT_ID)
    assert case is not None
    items = items_of(case, practice.store.list_findings(CT_ID), 20)
    assert [item.where for item in items] == [
        "slice 9 of 20, 8.0 mm",
        "slice 13 of 20, 5.0 mm",
        "slice 16 of 20, 4.0 mm",
    ]
    assert dict(items[0].facts)["Probability"] == "93.0 %"
    assert items[0].title == "Finding 1: nodule"


def test_a_circle_lies_where_the_finding_was(practice: Practice) -> None:
    case = practice.store.get_case(CT_ID)
    assert case is not None
    items = items_of(case, practice.store.list_findings(CT_ID), 20)
    circle = circles_of(items, open_volume(practice.ct).affine_lps)[1]
    assert [round(at, 3) for at in circle["index"]] == [12, 32, 34]
    assert circle["diameter"] == 5.0


def test_a_box_is_given_in_pixels(practice: Practice) -> None:
    case = practice.store.get_case(IMAGE_ID)
    assert case is not None
    item = items_of(case, practice.store.list_findings(IMAGE_ID), None)[0]
    assert box_data(item)["box"] == (8, 6, 40, 30)
    assert item.where == "32 x 24 px"


def test_a_case_without_findings_is_decided_as_a_whole(practice: Practice) -> None:
    case = practice.store.get_case(IMAGE_ID)
    assert case is not None
    (item,) = items_of(case, [], None)
    assert item.target == WHOLE_CASE
    assert item.title == f"Whole image: {CLASSES[0]}"
    assert box_data(item)["box"] is None


def test_the_history_of_a_finding_is_its_own_newest_first(practice: Practice) -> None:
    first, second, _ = practice.ct_findings
    for finding, action, label in (
        (first, "accept", ""),
        (second, "reject", ""),
        (first, "relabel", "vessel"),
    ):
        practice.store.decide(
            Decision(CT_ID, finding, action, "Dr A", label, note=label and "see prior")  # type: ignore[arg-type]
        )
    history = history_of(practice.store.list_decisions(CT_ID), first)
    assert [entry["what"] for entry in history] == ["relabel to vessel", "accept"]
    assert history[0]["note"] == "see prior"


@pytest.mark.parametrize(
    ("probability", "told"),
    [
        (1.0, "> 99.9 %"),
        (0.9995, "> 99.9 %"),
        (0.99949, "99.9 %"),
        (0.93, "93.0 %"),
        (0.0005, "0.1 %"),
        (0.0004, "< 0.1 %"),
        (0.0, "< 0.1 %"),
    ],
)
def test_no_model_is_certain(probability: float, told: str) -> None:
    assert percent(probability) == told
