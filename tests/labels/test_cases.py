"""What the readers of a case agree on: labels, targets, hard negatives, and what stays open."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Any

from medvit.io.case import Kind
from medvit.labels.cases import SettledCase, settle_case, votes_of
from medvit.labels.consensus import reader_skills
from medvit.labels.opinions import WHOLE, Opinion, Proposal, ReviewedCase, Says
from medvit.labels.places import is_same_place, middle

NUMBERS = count(1)
BOX = {"x_min": 0, "y_min": 0, "x_max": 10, "y_max": 10}
SPHERE = {"x_mm": 0.0, "y_mm": 0.0, "z_mm": 0.0, "diameter_mm": 8.0}
DENT = Proposal("f1", "dent", BOX, "m@1")


def holds(reader: str, says: Says, label: str = "", *, of: str = "f1", at: Any = None) -> Opinion:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    return Opinion(of, reader, says, label, at, moment, next(NUMBERS))


def settled(
    *opinions: Opinion, proposals: tuple[Proposal, ...] = (DENT,), kind: Kind = "image"
) -> SettledCase:
    whole = Proposal(WHOLE, "dent", None, "m@1") if kind == "image" else None
    case = ReviewedCase("c1", kind, whole, proposals, opinions)
    return settle_case(case, reader_skills(votes_of([case])))


def test_an_accepted_finding_labels_its_image() -> None:
    case = settled(holds("ann", "is", "dent"))
    assert case.label == "dent"
    assert [(mark.standing, mark.label, mark.geometry) for mark in case.marks] == [
        ("is", "dent", BOX)
    ]
    source = case.sources[0]
    assert (source.reader, source.proposed_by, source.label) == ("ann", "m@1", "dent")


def test_a_rejected_finding_is_a_hard_negative_and_labels_nothing() -> None:
    case = settled(holds("ann", "not"))
    assert (case.label, case.marks[0].standing) == ("", "not")
    assert case.is_labelled


def test_a_word_on_the_whole_outweighs_what_findings_imply() -> None:
    case = settled(holds("ann", "is", "dent"), holds("ann", "is", "slag", of=WHOLE))
    assert (case.label, case.marks[0].label) == ("slag", "dent")


def test_disagreement_is_a_dispute_and_no_label() -> None:
    case = settled(holds("ann", "is", "dent"), holds("ben", "is", "rust"))
    assert (case.label, case.marks[0].standing, case.is_labelled) == ("", "open", False)
    assert {each.finding_id for each in case.disputes} == {"f1", WHOLE}
    assert case.disputes[0].reason == "readers disagree: 1 x dent, 1 x rust"


def test_who_is_unsure_does_not_vote() -> None:
    case = settled(holds("ann", "unsure"), holds("ben", "is", "dent"))
    assert (case.label, case.disputes) == ("dent", ())
    assert settled(holds("ann", "unsure")).marks[0].standing == "open"


def test_one_place_that_two_readers_added_is_one_box_in_the_middle() -> None:
    shifted = {**BOX, "x_max": 14}
    proposals = (Proposal("r1", "dent", BOX, ""), Proposal("r2", "dent", shifted, ""))
    opinions = (
        holds("ann", "is", "dent", of="r1", at=BOX),
        holds("ben", "is", "dent", of="r2", at=shifted),
    )
    case = settled(*opinions, proposals=proposals)
    assert [mark.geometry for mark in case.marks] == [{**BOX, "x_max": 12}]


def test_of_a_scan_a_vessel_is_no_nodule_and_what_nobody_decided_stays_open() -> None:
    proposals = tuple(Proposal(f"f{n}", "nodule", SPHERE, "m@1") for n in (1, 2, 3))
    case = settled(
        holds("ann", "is", "ground-glass nodule", of="f1"),
        holds("ann", "is", "vessel", of="f2"),
        proposals=proposals,
        kind="ct",
    )
    assert [mark.standing for mark in case.marks] == ["is", "not", "open"]
    assert (case.label, case.sources[1].answer) == ("", "vessel")


def test_places_are_one_inside_the_larger_radius() -> None:
    near, far = {**SPHERE, "x_mm": 4.0}, {**SPHERE, "x_mm": 4.1}
    assert (is_same_place(SPHERE, near), is_same_place(SPHERE, far)) == (True, False)
    assert not is_same_place(SPHERE, BOX)
    assert middle([SPHERE, near])["x_mm"] == 2.0
