"""The image part of a report: counts by label and a table that can be sorted and filtered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from medvit.findings.finding import CaseResult, Finding
from medvit.report.markup import Html, tag
from medvit.report.overview import UNLIKE, shown_of
from medvit.report.words import NONE, counted, pill, probability_bar

MOST_ROWS = 5000
LABEL_BAR_PX = 160
COLUMNS = ("Image", "Heat map", "Label", "Probability", "Box x, y, w, h", "Verdict")


def images(results: Sequence[CaseResult], thumbnails: Mapping[str, str]) -> Html | None:
    """Return the section of all images that a model judged; None when there is none."""
    judged = [r for r in results if r.case.kind == "image" and r.verdict in ("accept", "repair")]
    if not judged:
        return None
    shown = judged[:MOST_ROWS]
    pictures = sum(_picture(result, thumbnails) is not None for result in shown)
    head = [
        tag("th", name, scope="col", data_fixed=True if name == "Heat map" else None)
        for name in COLUMNS
    ]
    rows = [_row(result, thumbnails) for result in shown]
    return tag(
        "section",
        tag("h2", "Images"),
        tag("p", _lead(len(judged), len(shown), pictures), class_="quiet"),
        _labels(judged),
        _controls(judged),
        tag(
            "table",
            tag("thead", tag("tr", *head)),
            tag("tbody", *rows),
            class_="images",
            data_sortable=True,
        ),
        shown_of(len(shown), len(judged), "image", "cases.csv"),
        id="images",
    )


def _lead(n_images: int, n_shown: int, n_pictures: int) -> str:
    text = (
        f"{counted(n_images, 'image')}, each with its most probable label. A heat map shows where "
        "the evidence for that label lies, not the outline of a defect; a picture without one "
        "shows the boxes of a detector."
    )
    if n_pictures < n_shown:
        text += f" Pictures are shown for {n_pictures:,} of {n_shown:,} to keep this file small."
    return text


def _labels(judged: Sequence[CaseResult]) -> Html:
    tally = Counter(result.label for result in judged).most_common()
    largest = tally[0][1]
    rows = [
        tag(
            "tr",
            tag("th", label or "no label", scope="row"),
            tag("td", _count_bar(number / largest)),
            tag("td", f"{number:,}", class_="number"),
            tag("td", f"{number / len(judged):.1%}", class_="number"),
        )
        for label, number in tally
    ]
    return tag("table", tag("tbody", *rows), class_="labels")


def _count_bar(share: float) -> Html:
    bar = tag("rect", width=round(share * LABEL_BAR_PX, 1), height=8, rx=2, class_="bar-part")
    return tag("svg", bar, width=LABEL_BAR_PX, height=8, aria_hidden="true")


def _controls(judged: Sequence[CaseResult]) -> Html:
    labels = sorted({result.label for result in judged})
    options = [
        tag("option", "All labels", value=""),
        *(tag("option", label or "no label", value=f"={label}") for label in labels),
    ]
    return tag(
        "form",
        tag("label", "Label ", tag("select", *options, name="label")),
        tag("label", "File name ", tag("input", type="search", name="text")),
        tag("output", counted(len(judged), "image")),
        class_="controls",
        data_filters="images",
        hidden=True,
    )


def _row(result: CaseResult, thumbnails: Mapping[str, str]) -> Html:
    picture = _picture(result, thumbnails)
    shown = tag("img", src=picture, alt="Image and heat map") if picture else NONE
    probability = -1 if result.probability is None else result.probability
    return tag(
        "tr",
        tag("td", tag("span", result.case.source, class_="source")),
        tag("td", shown, class_="picture"),
        tag("td", result.label or NONE, class_="label"),
        tag("td", probability_bar(result.probability), data_value=probability),
        tag("td", "; ".join(map(_box, result.findings)) or NONE, class_="number"),
        tag("td", pill(result.verdict), UNLIKE if result.unlike else None),
        id=result.case.case_id,
        data_label=f"={result.label}",
    )


def _picture(result: CaseResult, thumbnails: Mapping[str, str]) -> str | None:
    names = [result.case.case_id, *(finding.finding_id for finding in result.findings)]
    return next((thumbnails[name] for name in names if name in thumbnails), None)


def _box(finding: Finding) -> str:
    if finding.x_min is None or finding.y_min is None:
        return NONE
    width = (finding.x_max or 0) - finding.x_min
    height = (finding.y_max or 0) - finding.y_min
    return f"{finding.x_min}, {finding.y_min}, {width}, {height}"
