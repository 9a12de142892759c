"""The page of the gate: the verdict with its reasons, by class, and the cases that flipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medvit.metrics.noninferiority import Claim, Evidence, Verdict
from medvit.report.evaluation_page import (
    Heading,
    chart,
    evaluation_page,
    facts,
    figure_table,
    section,
    tiles,
)
from medvit.report.gate_chart import difference_chart
from medvit.report.markup import Html, join, tag

STYLE = Path(__file__).with_name("gate.css")
FOOTER = (
    "The figures are in gate.json beside this file.",
    "Research software, not a medical device.",
)
LEAST_P = 0.001
"""Smaller ones are written as below it."""

WORDS = {
    "promote": "Promote",
    "refuse": "Refuse",
    "undecided": "Undecided: production stays as it is",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of both models that no verdict hangs on."""

    name: str
    champion: float
    challenger: float
    form: str = ".3f"


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A part or a patient, and how many of its cases each model got right."""

    name: str
    cases: int
    champion: int
    challenger: int


@dataclass(frozen=True, slots=True)
class Flip:
    """A case that one model got right and the other wrong.

    Attributes:
        case: Path or series.
        truth: What it shows.
        champion: What the champion says.
        challenger: What the challenger says.
        gained: Whether the challenger is the one that is right.
        picture: A data URI; may be empty.
    """

    case: str
    truth: str
    champion: str
    challenger: str
    gained: bool
    picture: str


@dataclass(frozen=True, slots=True)
class GatePage:
    """All that is told on the page.

    Attributes:
        champion: `name@version`.
        challenger: Likewise.
        verdict: With its reasons.
        evidence: None where nothing was measured, as with a leak.
        figures: Operating point, time and memory.
        groups: Whose answers changed most.
        flips: With pictures.
        facts: How this was made, by name.
        lineage: A sentence on whether the models were trained on frozen cases.
        is_ct: Whether pictures are three views side by side.
    """

    champion: str
    challenger: str
    verdict: Verdict
    evidence: Evidence | None
    figures: Sequence[Figure]
    groups: Sequence[GroupRow]
    flips: Sequence[Flip]
    facts: Sequence[tuple[str, str]]
    lineage: str
    is_ct: bool = False


def gate_page(page: GatePage, heading: Heading) -> str:
    """Return the page as HTML that stands alone."""
    return evaluation_page(
        heading,
        _verdict(page.verdict),
        *_measured(page),
        section("How this was made", page.lineage, facts(page.facts)),
        style=STYLE.read_text(encoding="utf-8"),
        footer=FOOTER,
    )


def _verdict(verdict: Verdict) -> Html:
    reasons = tag("ul", *(tag("li", reason) for reason in verdict.reasons))
    word = tag("b", WORDS[verdict.answer])
    return tag("section", word, reasons, class_=f"verdict verdict-{verdict.answer}")


def _measured(page: GatePage) -> tuple[Html | None, ...]:
    evidence = page.evidence
    if evidence is None:
        return ()
    return (
        _tiles(evidence.primary),
        _parts(evidence),
        _learned(evidence),
        _figures(page),
        _groups(page.groups),
        _flips(page.flips, are_wide=page.is_ct),
    )


def _tiles(primary: Claim) -> Html:
    difference, flips = primary.difference, primary.flips
    before, after, change = ("none", "none", "none")
    if difference is not None:
        before, after = f"{difference.champion:.3f}", f"{difference.challenger:.3f}"
        change = f"{difference.value:+.3f}"
    return tiles(
        (before, f"champion, {primary.name}"),
        (after, f"challenger, {primary.name}"),
        (change, "difference"),
        (str(flips.gained), "cases gained"),
        (str(flips.lost), "cases lost"),
        (_p(flips.p), "exact McNemar p"),
    )


def _parts(evidence: Evidence) -> Html:
    claims = (evidence.primary, *evidence.parts)
    return section(
        "Not worse?",
        "Dots are differences, bars their 95 % intervals from drawing whole groups anew, dashes "
        "the margins. A bar right of its dash shows that nothing beyond the margin was lost.",
        chart(difference_chart(claims)),
        figure_table(
            ("", "cases", "champion", "challenger", "difference", "95 %", "+", "-", "p", ""),
            [_claim_row(claim) for claim in claims],
        ),
    )


def _claim_row(claim: Claim) -> tuple[object, ...]:
    difference, flips = claim.difference, claim.flips
    figures: tuple[str, ...] = ("", "", "", "")
    if difference is not None:
        figures = (
            f"{difference.champion:.3f}",
            f"{difference.challenger:.3f}",
            f"{difference.value:+.3f}",
            f"{difference.low:+.3f} to {difference.high:+.3f}",
        )
    counts = (flips.gained, flips.lost, _p(flips.p))
    return (claim.name, claim.cases, *figures, *counts, claim.standing)


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= LEAST_P else f"<{LEAST_P:g}"


def _learned(evidence: Evidence) -> Html | None:
    lost = dict(evidence.lost or {})
    if not evidence.learned and not lost:
        return None
    rows: list[tuple[object, ...]] = [
        (
            each.name,
            "new",
            each.cases,
            each.hits,
            f"{each.interval[0]:.3f} to {each.interval[1]:.3f}" if each.cases else "",
        )
        for each in evidence.learned
    ]
    rows += [(name, "unknown to the challenger", cases, 0, "") for name, cases in lost.items()]
    return section(
        "Classes that one model alone knows",
        "A new class never counts against the challenger; its recall has Wilson's interval.",
        figure_table(("class", "", "frozen cases", "named", "recall, 95 %"), rows, names=2),
    )


def _figures(page: GatePage) -> Html:
    rows = [
        (each.name, format(each.champion, each.form), format(each.challenger, each.form))
        for each in page.figures
    ]
    return section(
        "Beside it",
        "Each at the operating point of its own card. Time and memory are of this machine, with "
        "whatever else it did, and told for comparison.",
        figure_table(("", page.champion, page.challenger), rows),
    )


def _groups(groups: Sequence[GroupRow]) -> Html | None:
    if not groups:
        return None
    rows = [
        (each.name, each.cases, each.champion, each.challenger, each.challenger - each.champion)
        for each in groups
    ]
    return section(
        "Groups that changed",
        "Parts or patients, what was lost first.",
        figure_table(("group", "cases", "champion right", "challenger right", "change"), rows),
    )


def _flips(flips: Sequence[Flip], *, are_wide: bool) -> Html:
    if not flips:
        return section("Cases that flipped", "None: both models are right on the same cases.")
    return section(
        "Cases that flipped",
        "Red: right only by the champion. Green: right only by the challenger.",
        tag("div", *map(_flip, flips), class_="flips wide-pictures" if are_wide else "flips"),
    )


def _flip(flip: Flip) -> Html:
    picture = tag("img", src=flip.picture, alt=flip.case) if flip.picture else None
    caption = join(
        tag("b", flip.truth) if flip.truth else None,
        tag("span", f"champion: {flip.champion}"),
        tag("span", f"challenger: {flip.challenger}"),
        tag("span", flip.case),
    )
    kind = None if flip.gained else "lost"
    return tag("figure", picture, tag("figcaption", caption), class_=kind)
