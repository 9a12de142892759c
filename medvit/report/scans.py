"""The CT part of a report: a table of scans and a card for each nodule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medvit.findings.finding import CaseResult, Finding
from medvit.findings.nodule import NoduleDetail
from medvit.report.markup import Html, tag
from medvit.report.nodule_card import nodule_card, place_text, slice_text
from medvit.report.overview import place, shown_of
from medvit.report.tables import finding_order
from medvit.report.words import NONE, counted, duration, pill, probability_bar

CARDS_OF_A_CASE = 12
MOST_FINDINGS = 5000
COLUMNS = ("Scan", "Verdict", "Findings", "Most probable", "Largest", "Time")
ROW_COLUMNS = ("Nr.", "Label", "Probability", "Diameter", "Slice", "Left, posterior, superior mm")


Details = Mapping[str, NoduleDetail]


def scans(
    results: Sequence[CaseResult], thumbnails: Mapping[str, str], details: Details
) -> Html | None:
    """Return the section of all CT cases that a model judged; None when there is none."""
    judged = [r for r in results if r.case.kind == "ct" and r.verdict in ("accept", "repair")]
    if not judged:
        return None
    total = sum(len(result.findings) for result in judged)
    parts: list[Html] = []
    left = MOST_FINDINGS
    for result in judged:
        parts.append(_scan(result, thumbnails, details, most=left))
        left -= min(left, len(result.findings))
    return tag(
        "section",
        tag("h2", "CT scans"),
        tag("p", _lead(len(judged), total), class_="quiet"),
        _table(judged) if len(judged) > 1 else None,
        *parts,
        shown_of(min(total, MOST_FINDINGS), total, "finding", "findings.csv"),
        id="scans",
    )


def _lead(n_scans: int, n_findings: int) -> str:
    return (
        f"{counted(n_findings, 'finding')} in {counted(n_scans, 'scan')}. Views from the left: "
        "axial, coronal, sagittal; lung window (-600 HU, width 1500 HU); the bar is 10 mm; "
        "letters name the patient's right, left, front (A), back (P), head and feet. "
        "Positions are DICOM patient coordinates (LPS), slices count from 1 in the order of "
        "their position. What is measured and how: docs/findings.md; all of it: nodules.csv."
    )


def _table(judged: Sequence[CaseResult]) -> Html:
    head = tag("tr", *(tag("th", name, scope="col") for name in COLUMNS))
    rows = [_table_row(result) for result in judged]
    return tag(
        "table", tag("thead", head), tag("tbody", *rows), class_="overview", data_sortable=True
    )


def _table_row(result: CaseResult) -> Html:
    top = max((f.probability for f in result.findings), default=None)
    widest = max((f.diameter_mm or 0.0 for f in result.findings), default=0.0)
    link = tag("a", place(result), href=f"#{result.case.case_id}")
    return tag(
        "tr",
        tag("td", link),
        tag("td", pill(result.verdict)),
        tag("td", len(result.findings), class_="number", data_value=len(result.findings)),
        tag("td", probability_bar(top), data_value=-1 if top is None else top),
        tag("td", f"{widest:.1f} mm" if widest else NONE, class_="number", data_value=widest),
        tag("td", duration(result.seconds), class_="number", data_value=result.seconds),
    )


def _scan(
    result: CaseResult, thumbnails: Mapping[str, str], details: Details, *, most: int
) -> Html:
    ranked = list(enumerate(sorted(result.findings, key=finding_order), start=1))[:most]
    cards = [item for item in ranked if item[1].finding_id in thumbnails][:CARDS_OF_A_CASE]
    numbers = {number for number, _ in cards}
    rest = [item for item in ranked if item[0] not in numbers]
    count = counted(len(result.findings), "finding") if result.findings else "no finding"
    return tag(
        "article",
        tag("h3", place(result), tag("span", count, class_="count"), pill(result.verdict)),
        tag("div", *(_card_of(n, f, thumbnails, details) for n, f in cards), class_="cards")
        if cards
        else None,
        _rows(rest, details) if rest else None,
        class_="scan",
        id=result.case.case_id,
    )


def _card_of(
    number: int, finding: Finding, thumbnails: Mapping[str, str], details: Details
) -> Html:
    name = finding.finding_id
    return nodule_card(number, finding, thumbnails[name], details.get(name))


def _rows(items: Sequence[tuple[int, Finding]], details: Details) -> Html:
    head = tag("tr", *(tag("th", name, scope="col") for name in ROW_COLUMNS))
    rows = [
        tag(
            "tr",
            tag("td", number, class_="number"),
            tag("td", finding.label),
            tag("td", probability_bar(finding.probability)),
            tag("td", _mm(finding.diameter_mm), class_="number"),
            tag("td", slice_text(finding, details.get(finding.finding_id)), class_="number"),
            tag("td", place_text(finding), class_="number"),
        )
        for number, finding in items
    ]
    title = tag("summary", counted(len(rows), "more finding" if items[0][0] > 1 else "finding"))
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="rest")
    return tag("details", title, table)


def _mm(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f} mm"
