"""The page that says whether pretraining paid: with and without, by number of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medvit.learn.pretraining.payoff import ALL, Payoff, overall
from medvit.report.charts import Axis, Line, line_chart
from medvit.report.evaluation_page import (
    Heading,
    chart,
    evaluation_page,
    facts,
    figure_table,
    section,
    tiles,
)
from medvit.report.markup import Html

COLUMNS = ("labels a class", "way", "with", "without", "gain", "95 %", "verdict")
TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def payoff_page(
    heading: Heading, tables: Mapping[str, Sequence[Payoff]], *, asked: str, draws: int
) -> str:
    """Return the page of a comparison.

    Args:
        heading: Title, date and notes.
        tables: What was found, by the weights compared with; random weights first.
        asked: Which images were asked for.
        draws: Of labels.
    """
    parts = [_part(name, rows) for name, rows in tables.items()]
    verdicts = [(overall(rows), f"against {name}") for name, rows in tables.items()]
    return evaluation_page(
        heading,
        tiles(*verdicts),
        *parts,
        section(
            "How this was made",
            "The interval is Student's over paired draws of labels: it does not cover which "
            "images were asked for.",
            facts(
                [("Queries", asked), ("Draws of labels", str(draws)), ("All scores", "payoff.json")]
            ),
        ),
    )


def _part(name: str, rows: Sequence[Payoff]) -> Html:
    return section(
        f"Against {name}",
        "Accuracy in percent, mean and sd over draws of labels. Paid: the gain is sure. Cost: the "
        "loss is sure. Did not pay: neither.",
        chart(_curves(rows, name)),
        figure_table(COLUMNS, [_row(one) for one in rows], names=2),
    )


def _row(one: Payoff) -> tuple[object, ...]:
    return (
        one.shots or "all",
        one.way,
        _spread(one.given, one.given_sd),
        _spread(one.plain, one.plain_sd),
        f"{100 * (one.given - one.plain):+.1f}",
        f"{100 * one.low:+.1f} to {100 * one.high:+.1f}",
        one.verdict,
    )


def _spread(mean: float, sd: float) -> str:
    return f"{100 * mean:.1f} \N{PLUS-MINUS SIGN} {100 * sd:.1f}"


def _curves(rows: Sequence[Payoff], name: str) -> Html:
    """Return accuracy by number of labels, one line a way and start."""
    shots = list(dict.fromkeys(one.shots for one in rows))
    place = {number: float(index) for index, number in enumerate(shots)}
    names = {place[number]: "all" if number == ALL else str(number) for number in shots}
    lines = []
    for way in dict.fromkeys(one.way for one in rows):
        own = [one for one in rows if one.way == way]
        given = [(place[one.shots], one.given) for one in own]
        plain = [(place[one.shots], one.plain) for one in own]
        lines += [Line(f"{way}, with", given, given), Line(f"{way}, without", plain, plain)]
    describe = f"Accuracy by labels a class, pretrained and {name}"
    x = Axis("labels a class", names if len(names) > 1 else {**names, 1.0: ""})
    return line_chart(
        lines, x=x, y=Axis("accuracy", {tick: f"{tick:.0%}" for tick in TICKS}), describe=describe
    )
