from __future__ import annotations

from xml.etree import ElementTree as Xml

import pytest

from medvit.report.charts import Axis, Line, line_chart, matrix_chart

SVG = "{http://www.w3.org/2000/svg}"
UNIT = {0.0: "0", 0.5: "half", 1.0: "1"}


def drawn(*lines: Line) -> Xml.Element:
    axis = Axis("share", UNIT)
    return Xml.fromstring(line_chart(lines, x=axis, y=axis, describe="what is < seen"))


def corners(element: Xml.Element) -> list[tuple[float, float]]:
    pairs = element.attrib["points"].split()
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in pairs)]


def test_points_lie_where_the_ticks_say() -> None:
    line = Line("a", [(0, 0), (0.5, 1), (1, 0.5)], marked=[(0.5, 1)])
    picture = drawn(line)
    (curve,) = picture.iter(f"{SVG}polyline")
    grid = [
        {k: float(v) for k, v in e.attrib.items() if k[0] in "xy"}
        for e in picture.iter(f"{SVG}line")
    ]
    down = {e["x1"] for e in grid if e["x1"] == e["x2"]}
    across = {e["y1"] for e in grid if e["y1"] == e["y2"]}
    (x0, y0), (x1, y1), (x2, y2) = corners(curve)
    assert {x0, x1, x2} == down
    assert {y0, y1, y2} == across
    assert x0 < x1 < x2
    assert y1 < y2 < y0  # up is less
    (dot,) = picture.iter(f"{SVG}circle")
    assert (float(dot.attrib["cx"]), float(dot.attrib["cy"])) == (x1, y1)


def test_a_band_runs_along_the_top_and_back_below() -> None:
    picture = drawn(Line("a", [(0, 0.5), (1, 0.5)], band=[(0, 0.0, 1.0), (1, 0.5, 2.0)]))
    (area,) = picture.iter(f"{SVG}polygon")
    top_left, top_right, low_right, low_left = corners(area)
    assert top_left[1] == top_right[1]  # 2.0 is cut to the axis
    assert top_right[0] == low_right[0]
    assert low_right[1] < low_left[1]


def test_texts_are_escaped_and_many_lines_are_told_apart() -> None:
    picture = drawn(*(Line(f"<b>class {n}", [(0, 0), (1, 1)]) for n in range(16)))
    assert picture.findtext(f"{SVG}title") == "what is < seen"
    texts = [each.text for each in picture.iter(f"{SVG}text")]
    assert texts[-1] == "<b>class 15"
    looks = {
        (each.attrib["stroke"], each.attrib.get("stroke-dasharray"))
        for each in picture.iter(f"{SVG}polyline")
    }
    assert len(looks) == 16


@pytest.mark.parametrize(("classes", "shown"), [(3, True), (40, False)])
def test_counts_are_written_where_there_is_room(classes: int, shown: bool) -> None:
    counts = [[7 if a == b else 0 for b in range(classes)] for a in range(classes)]
    names = [f"class {n}" for n in range(classes)]
    picture = Xml.fromstring(matrix_chart(counts, names, describe="matrix"))
    texts = [each.text for each in picture.iter(f"{SVG}text")]
    assert texts.count("7") == (classes if shown else 0)
    assert texts.count("100%") == (classes if shown else 0)
    assert texts.count("class 0") == 2
