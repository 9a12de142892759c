"""Line charts and matrices as SVG that needs no style sheet, font or script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medvit.report.markup import Html, join, tag

COLOURS = ("#0f6c74", "#d55e00", "#0072b2", "#a8478f", "#b07d00", "#56a0d3", "#7aa31c", "#5d6b76")
DASHES = (None, "7 4", "2 3")
INK, QUIET, GRID, PAPER = "#1d2830", "#5d6b76", "#e3e8eb", "#ffffff"
FONT = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif"
WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 62, 18, 16, 52
LEGEND_WIDTH, LEGEND_STEP = 190, 21
LONGEST_NAME, LONGEST_LABEL = 20, 30
CELL_PX, MOST_CELLS_PX = 64, 640
DARK_SHARE = 0.55

Ticks = Mapping[float, str]


@dataclass(frozen=True, slots=True)
class Line:
    """A curve of a chart.

    Attributes:
        name: Shown in the legend.
        points: x and y, in the units of the axes.
        marked: Points to be shown as dots.
        band: x, low and high of an area around the curve.
    """

    name: str
    points: Sequence[tuple[float, float]]
    marked: Sequence[tuple[float, float]] = ()
    band: Sequence[tuple[float, float, float]] = ()


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a chart: its title, and where its ticks are; the outer ticks end it."""

    title: str
    ticks: Ticks

    def share(self, value: float) -> float:
        """Return how far along the axis a value lies, cut to 0..1."""
        low, high = min(self.ticks), max(self.ticks)
        return min(1.0, max(0.0, (value - low) / (high - low)))


def line_chart(lines: Sequence[Line], *, x: Axis, y: Axis, describe: str) -> Html:
    """Return a chart with a legend; beyond eight, lines are dashed.

    Args:
        lines: Drawn in this order, the first at the bottom.
        x: Axis along the bottom.
        y: Axis along the left.
        describe: What is to be seen, for those who cannot see it.
    """
    plot = _Plot(x, y, right=WIDTH - RIGHT - (LEGEND_WIDTH if len(lines) > 1 else 0))
    drawn = [
        part
        for number, line in enumerate(lines)
        for part in _line(plot, line, colour=_colour(number), dash=_dash(number))
    ]
    legend = _legend(lines, left=plot.right + 18) if len(lines) > 1 else None
    return _svg(WIDTH, HEIGHT, describe, *_frame(plot), *drawn, legend)


def matrix_chart(counts: Sequence[Sequence[int]], names: Sequence[str], *, describe: str) -> Html:
    """Return a confusion matrix: rows true, columns predicted, shaded by the share of the row."""
    side = min(CELL_PX, max(14, MOST_CELLS_PX // len(names)))
    left, top = 236, 26
    width, height = left + side * len(names) + 20, top + side * len(names) + 166
    cells = [
        _cell(count, sum(row), x=left + column * side, y=top + index * side, side=side)
        for index, row in enumerate(counts)
        for column, count in enumerate(row)
    ]
    below = top + side * len(names)
    labels = [
        join(
            _text(short, left - 8, top + (index + 0.5) * side + 4, anchor="end"),
            _slanted(short, left + (index + 0.5) * side + 4, below + 14),
        )
        for index, short in enumerate(_short(name, LONGEST_LABEL) for name in names)
    ]
    titles = (
        _text("true", left - 8, top - 9, anchor="end", colour=QUIET),
        _text("predicted", left + side * len(names) / 2, top - 9, anchor="middle", colour=QUIET),
    )
    return _svg(width, height, describe, *cells, *labels, *titles)


@dataclass(frozen=True, slots=True)
class _Plot:
    """The area that curves are drawn in."""

    x_axis: Axis
    y_axis: Axis
    right: float

    def x(self, value: float) -> float:
        return round(LEFT + self.x_axis.share(value) * (self.right - LEFT), 2)

    def y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - self.y_axis.share(value) * (HEIGHT - BOTTOM - TOP), 2)

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(x):g},{self.y(y):g}" for x, y in points)


def _svg(width: float, height: float, describe: str, *children: Html | None) -> Html:
    return tag(
        "svg",
        tag("title", describe),
        tag("rect", width=width, height=height, fill=PAPER),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        font_family=FONT,
        font_size=13,
        role="img",
    )


def _frame(plot: _Plot) -> list[Html]:
    bottom, middle = HEIGHT - BOTTOM, (HEIGHT - BOTTOM + TOP) / 2
    parts = []
    for value, text in plot.x_axis.ticks.items():
        parts.append(_stroke((plot.x(value), TOP), (plot.x(value), bottom)))
        parts.append(_text(text, plot.x(value), bottom + 19, anchor="middle", colour=QUIET))
    for value, text in plot.y_axis.ticks.items():
        parts.append(_stroke((LEFT, plot.y(value)), (plot.right, plot.y(value))))
        parts.append(_text(text, LEFT - 9, plot.y(value) + 4, anchor="end", colour=QUIET))
    centre = (LEFT + plot.right) / 2
    parts.append(_text(plot.x_axis.title, centre, HEIGHT - 10, anchor="middle"))
    turned = _text(plot.y_axis.title, 0, 0, anchor="middle")
    parts.append(tag("g", turned, transform=f"translate(17 {middle:g}) rotate(-90)"))
    return parts


def _line(plot: _Plot, line: Line, *, colour: str, dash: str | None) -> list[Html]:
    parts = []
    if line.band:
        upper = [(x, high) for x, _, high in line.band]
        lower = [(x, low) for x, low, _ in reversed(line.band)]
        area = plot.path([*upper, *lower])
        parts.append(tag("polygon", points=area, fill=colour, fill_opacity=0.16))
    parts.append(
        tag(
            "polyline",
            points=plot.path(line.points),
            fill="none",
            stroke=colour,
            stroke_width=2.2,
            stroke_linejoin="round",
            stroke_dasharray=dash,
        )
    )
    parts += [
        tag("circle", cx=plot.x(x), cy=plot.y(y), r=4.5, fill=colour, stroke=PAPER)
        for x, y in line.marked
    ]
    return parts


def _legend(lines: Sequence[Line], *, left: float) -> Html:
    parts = []
    for number, line in enumerate(lines):
        y = TOP + 8 + number * LEGEND_STEP
        key = _stroke((left, y), (left + 22, y), colour=_colour(number), dash=_dash(number), px=3)
        parts.append(join(key, _text(_short(line.name), left + 30, y + 4)))
    return join(*parts)


def _cell(count: int, row: int, *, x: float, y: float, side: float) -> Html:
    share = count / row if row else 0.0
    square = tag(
        "rect",
        x=x + 1,
        y=y + 1,
        width=side - 2,
        height=side - 2,
        fill=COLOURS[0] if count else "#f4f6f7",
        fill_opacity=round(0.08 + 0.92 * share, 3) if count else None,
    )
    if not count or side < 24:
        return square
    colour = PAPER if share > DARK_SHARE else INK
    middle = x + side / 2
    if side < 48:
        return join(square, _text(count, middle, y + side / 2 + 4, anchor="middle", colour=colour))
    return join(
        square,
        _text(count, middle, y + side / 2 - 1, anchor="middle", colour=colour),
        _text(f"{share:.0%}", middle, y + side / 2 + 15, anchor="middle", colour=colour, px=11),
    )


def _text(
    text: object,
    x: float,
    y: float,
    *,
    anchor: str = "start",
    colour: str = INK,
    px: float | None = None,
) -> Html:
    return tag("text", text, x=f"{x:g}", y=f"{y:g}", text_anchor=anchor, fill=colour, font_size=px)


def _slanted(text: str, x: float, y: float) -> Html:
    return tag(
        "g", _text(text, 0, 0, anchor="end"), transform=f"translate({x:g} {y:g}) rotate(-45)"
    )


def _stroke(
    start: tuple[float, float],
    end: tuple[float, float],
    *,
    colour: str = GRID,
    dash: str | None = None,
    px: float = 1,
) -> Html:
    ends = {"x1": start[0], "y1": start[1], "x2": end[0], "y2": end[1]}
    return tag("line", **ends, stroke=colour, stroke_width=px, stroke_dasharray=dash)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _dash(number: int) -> str | None:
    return DASHES[number // len(COLOURS) % len(DASHES)]


def _short(name: str, most: int = LONGEST_NAME) -> str:
    return name if len(name) <= most else name[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
