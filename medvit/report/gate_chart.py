"""Differences with their intervals and margins, one line a part, as SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from medvit.metrics.noninferiority import Claim, Standing
from medvit.report.charts import FONT, GRID, INK, QUIET
from medvit.report.markup import Html, tag

WIDTH, LEFT, RIGHT = 900, 250, 190
ROW, TOP, BOTTOM = 26, 30, 34
COLOURS: dict[Standing, str] = {
    "not worse": "#0f6c74",
    "unclear": "#b07d00",
    "worse": "#b0382c",
    "insufficient": "#8b97a0",
}
LONGEST_NAME = 36


def difference_chart(claims: Sequence[Claim]) -> Html:
    """Return a line for each claim: its interval, its value, and the margin it is held to."""
    drawn = [claim.difference for claim in claims if claim.difference is not None]
    edges = [max(abs(each.low), abs(each.high)) for each in drawn]
    reach = max([0.02, *edges, *(claim.margin for claim in claims)]) * 1.08
    height = TOP + ROW * len(claims) + BOTTOM

    def x_of(value: float) -> float:
        middle, half = (LEFT + WIDTH - RIGHT) / 2, (WIDTH - RIGHT - LEFT) / 2
        return round(middle + value / reach * half, 1)

    rows = [part for at, claim in enumerate(claims) for part in _row(claim, TOP + ROW * at, x_of)]
    bottom = TOP + ROW * len(claims)
    axis = [
        tag("line", x1=x_of(0), x2=x_of(0), y1=TOP - 8, y2=bottom + 4, stroke=INK),
        _text("champion better", x_of(-reach), TOP - 14, colour=QUIET),
        _text("challenger better", x_of(reach), TOP - 14, anchor="end", colour=QUIET),
    ]
    axis += [
        _text(f"{value:+.3f}", x_of(value), bottom + 20, anchor="middle", colour=QUIET)
        for value in (-reach / 2, 0.0, reach / 2)
    ]
    describe = "Difference of challenger and champion with 95 % intervals; " + "; ".join(
        f"{claim.name} {claim.standing}" for claim in claims
    )
    return tag(
        "svg",
        tag("title", describe),
        *axis,
        *rows,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {height}",
        width=WIDTH,
        height=height,
        role="img",
        font_family=FONT,
        font_size=13,
    )


def _row(claim: Claim, y: float, x_of: Callable[[float], float]) -> list[Html]:
    middle = y + ROW / 2
    colour = COLOURS[claim.standing]
    parts = [
        tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y + ROW, y2=y + ROW, stroke=GRID),
        _text(_short(claim.name), LEFT - 12, middle + 4, anchor="end"),
        _text(claim.standing, WIDTH - RIGHT + 12, middle + 4, colour=colour),
    ]
    margin, ends = x_of(-claim.margin), {"y1": y + 4, "y2": y + ROW - 4}
    dashes = {"stroke": QUIET, "stroke_dasharray": "3 2"}
    parts.append(tag("line", x1=margin, x2=margin, **ends, **dashes))
    difference = claim.difference
    if difference is not None:
        low, high = x_of(difference.low), x_of(difference.high)
        bar = {"stroke": colour, "stroke_width": 3, "stroke_linecap": "round"}
        parts.append(tag("line", x1=low, x2=high, y1=middle, y2=middle, **bar))
        parts.append(tag("circle", cx=x_of(difference.value), cy=middle, r=5, fill=colour))
    return parts


def _text(text: str, x: float, y: float, *, anchor: str = "start", colour: str = INK) -> Html:
    return tag("text", text, x=x, y=y, text_anchor=anchor, fill=colour)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
