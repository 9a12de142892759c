"""Nodules that the readers of a scan agree on: where they are, and how many readers say so."""

from __future__ import annotations

from datetime import UTC, datetime

from medvit.findings.agreed import AgreedNodule
from medvit.labels.agreed import agreed_nodules
from medvit.labels.cases import settle_case
from medvit.labels.opinions import Geometry, Opinion, Proposal, ReviewedCase, Says

MOMENT = datetime(2026, 1, 2, tzinfo=UTC)
SKILLS = {"ann": 0.8, "ben": 0.8, "cy": 0.8}


def sphere(z_mm: float, *, diameter_mm: float = 6.0) -> dict[str, float]:
    return {"x_mm": 1.0, "y_mm": 2.0, "z_mm": z_mm, "diameter_mm": diameter_mm}


def agreed(
    proposals: tuple[Proposal, ...], *said: tuple[str, str, Says, str, Geometry | None]
) -> list[AgreedNodule]:
    opinions = tuple(
        Opinion(subject, reader, says, label, place, MOMENT, number)
        for number, (subject, reader, says, label, place) in enumerate(said)
    )
    case = ReviewedCase("c1", "ct", None, proposals, opinions)
    return list(agreed_nodules(case, settle_case(case, SKILLS)))


def test_an_accepted_nodule_keeps_the_place_that_the_model_measured() -> None:
    proposal = Proposal("f1", "nodule", sphere(3), "m@1")
    (nodule,) = agreed((proposal,), ("f1", "ann", "is", "nodule", None))
    assert nodule == AgreedNodule("f1", (1.0, 2.0, 3.0), 6.0, 1, 1, "m@1")


def test_a_moved_nodule_lies_where_readers_put_it() -> None:
    proposal = Proposal("f1", "nodule", sphere(3), "m@1")
    (nodule,) = agreed(
        (proposal,),
        ("f1", "ann", "is", "nodule", sphere(4, diameter_mm=8)),
        ("f1", "ben", "is", "nodule", sphere(6, diameter_mm=9)),
        ("f1", "cy", "is", "nodule", None),
    )
    assert nodule == AgreedNodule("f1", (1.0, 2.0, 5.0), 8.5, 3, 3, "")


def test_readers_are_counted_those_who_disagree_too_those_who_are_unsure_not() -> None:
    proposal = Proposal("f1", "nodule", sphere(3), "m@1")
    (nodule,) = agreed(
        (proposal,),
        ("f1", "ann", "is", "ground-glass nodule", None),
        ("f1", "ben", "is", "nodule", None),
        ("f1", "cy", "is", "vessel", None),
    )
    assert (nodule.confirmed_by, nodule.asked) == (2, 3)
    (nodule,) = agreed(
        (proposal,), ("f1", "ann", "is", "nodule", None), ("f1", "ben", "unsure", "", None)
    )
    assert (nodule.confirmed_by, nodule.asked) == (1, 1)


def test_what_was_rejected_disputed_or_left_open_is_no_agreed_nodule() -> None:
    proposals = tuple(Proposal(f"f{n}", "nodule", sphere(n), "m@1") for n in range(1, 5))
    assert not agreed(
        proposals,
        ("f1", "ann", "not", "", None),
        ("f2", "ann", "is", "nodule", None),
        ("f2", "ben", "not", "", None),
        ("f3", "ann", "is", "vessel", None),
    )


def test_nodules_go_from_the_feet_to_the_head() -> None:
    added = tuple(Proposal(f"f{n}", "nodule", sphere(-10.0 * n), "") for n in (1, 2, 3))
    nodules = agreed(added, *((each.finding_id, "ann", "is", "nodule", None) for each in added))
    assert [each.centre_lps_mm[2] for each in nodules] == [-30.0, -20.0, -10.0]
