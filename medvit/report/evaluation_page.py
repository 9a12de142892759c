"""The page that every evaluation is kept as: one HTML file that needs no other."""

from __future__ import annotations

import base64
import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from io import StringIO
from pathlib import Path

from medvit.report.markup import Html, join, tag
from medvit.report.tables import FORMULA_STARTS

STYLE = Path(__file__).with_name("report.css")
OWN_STYLE = """
.chart { margin: 12px 0 0; padding: 12px; background: #fff; }
.chart { border: 1px solid var(--line); border-radius: 8px; }
.chart svg { display: block; max-width: 100%; height: auto; margin: 0 auto; }
th.right, td.right { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.wide { overflow-x: auto; }
.fitting td { font-size: 13px; }
.fitting td, .fitting th { padding: 6px 10px; }
.fitting { width: auto; }
.notes { margin: 12px 0 0; padding-left: 20px; overflow-wrap: anywhere; }
"""
FOOTER = (
    "The figures are in run.json beside this file, and the whole tables in the CSV files.",
    "Research software, not a medical device.",
)


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands above an evaluation.

    Attributes:
        title: What was measured.
        made_at: When, with its time zone.
        version: Of medvit.
        notes: Sentences on what is odd about the input.
    """

    title: str
    made_at: datetime
    version: str
    notes: tuple[str, ...] = ()


def evaluation_page(
    heading: Heading, *sections: Html | None, style: str = "", footer: Sequence[str] = FOOTER
) -> str:
    """Return a whole page; nothing in it is loaded from elsewhere, and no script runs.

    Args:
        heading: What stands above.
        sections: In their order; pictures in them are data URIs.
        style: Further rules.
        footer: Lines below.
    """
    rules = Html(STYLE.read_text(encoding="utf-8") + OWN_STYLE + style)
    digest = base64.b64encode(hashlib.sha256(rules.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"medvit evaluation: {heading.title}"),
        tag("style", rules),
    )
    below = tag("footer", *(tag("p", line) for line in footer))
    body = tag("main", _header(heading), *sections, below)
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', body), lang='en')}\n"


def tiles(*figures: tuple[str, str]) -> Html:
    """Return the figures a reader asks for first: text and name; six make a row."""
    return tag(
        "section",
        *(tag("div", tag("b", text), tag("span", name), class_="tile") for text, name in figures),
        class_="tiles",
        aria_label="Figures",
    )


def section(title: str, text: str, *children: Html | None) -> Html:
    """Return a part of the page with a heading and a sentence that says how to read it."""
    return tag("section", tag("h2", title), tag("p", text, class_="quiet"), *children)


def chart(svg: Html) -> Html:
    """Return a picture in its frame."""
    return tag("figure", svg, class_="chart")


def figure_table(
    headings: Sequence[str], rows: Sequence[Sequence[object]], *, names: int = 1
) -> Html:
    """Return a table; all but the first `names` columns hold figures."""
    head = tag("tr", *(_cell("th", text, at >= names) for at, text in enumerate(headings)))
    body = [
        tag("tr", *(_cell("td", value, at >= names) for at, value in enumerate(row)))
        for row in rows
    ]
    table = tag("table", tag("thead", head), tag("tbody", *body), class_="fitting")
    return tag("div", table, class_="wide")


def facts(pairs: Sequence[tuple[str, str]]) -> Html:
    """Return names with what they are, below each other."""
    rows = (tag("div", tag("dt", name), tag("dd", text)) for name, text in pairs)
    return tag("dl", *rows, class_="facts")


def draws_fact(rounds: int, *, groups: int, seed: int) -> tuple[str, str]:
    """Return how intervals were drawn, for `facts`."""
    return "Intervals", f"95 %, {rounds} draws of {groups} groups, seed {seed}"


def interval(low: float, high: float) -> str:
    """Return a 95 % interval as people write it.

    Examples:
        >>> interval(0.5, 0.75)
        '0.500 to 0.750'
    """
    return f"{low:.3f} to {high:.3f}"


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    r"""Return a table as CSV; None is empty, and no text in it is run as a formula.

    Examples:
        >>> csv_text(["path", "score"], [["=1+1.png", -0.5], ["b.png", None]])
        "path,score\n'=1+1.png,-0.5\nb.png,\n"
    """
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_safe(value) for value in row] for row in rows)
    return text.getvalue()


def _safe(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def _cell(name: str, value: object, is_figure: bool) -> Html:
    return tag(name, value, class_="right" if is_figure else None)


def _header(heading: Heading) -> Html:
    made = heading.made_at.strftime("%d %B %Y, %H:%M %Z").lstrip("0")
    notes = tag("ul", *(tag("li", note) for note in heading.notes), class_="notes")
    return join(
        tag("p", "medvit", tag("span", f"evaluation, version {heading.version}"), class_="brand"),
        tag("h1", heading.title),
        tag("p", made, class_="when"),
        tag("div", tag("strong", "Worth a look:"), notes, class_="warning")
        if heading.notes
        else None,
    )
