from __future__ import annotations

import re
from datetime import UTC, datetime

from medvit.metrics.noninferiority import Claim, Evidence, Learned, Verdict
from medvit.metrics.paired import Difference, McNemar
from medvit.report.evaluation_page import Heading
from medvit.report.gate_chart import LEFT, RIGHT, WIDTH, difference_chart
from medvit.report.gate_report import Flip, GatePage, gate_page

DIFFERENCE = Difference(0.9, 0.8, 0.05, 0.2, 40)
PRIMARY = Claim("accuracy", 90, DIFFERENCE, McNemar(9, 0, 0.0002), 0.01, enough=True)
NONE = Claim("<b>hole</b>", 3, None, McNemar(0, 0, 1.0), 0.05, enough=False)


def test_a_bar_lies_where_its_interval_is() -> None:
    svg = difference_chart([PRIMARY])
    middle, half = (LEFT + WIDTH - RIGHT) / 2, (WIDTH - RIGHT - LEFT) / 2
    reach = 0.2 * 1.08
    (centre,) = re.findall(r'<circle cx="([0-9.]+)"', svg)
    assert float(centre) == round(middle + 0.1 / reach * half, 1)
    bar = re.search(r'<line x1="([0-9.]+)" x2="([0-9.]+)"[^>]*stroke-width="3"', svg)
    assert bar is not None
    assert [float(x) for x in bar.groups()] == [
        round(middle + edge / reach * half, 1) for edge in (0.05, 0.2)
    ]


def test_a_part_without_an_interval_has_a_line_and_no_bar() -> None:
    svg = difference_chart([PRIMARY, NONE])
    assert svg.count("<circle") == 1
    assert "insufficient" in svg


def page(evidence: Evidence | None) -> str:
    verdict = Verdict("promote" if evidence else "refuse", ("a <reason>",), is_better=True)
    flip = Flip("a/b.png", "hole", "scratch (0.5)", "hole (0.9)", gained=True, picture="")
    flips = [flip] if evidence else []
    facts = [("Look", "number 1")]
    told = GatePage("m@1", "m@2", verdict, evidence, [], [], flips, facts, "Nobody can tell.")
    return gate_page(told, Heading("m@2 against m@1", datetime(2026, 11, 21, tzinfo=UTC), "0"))


def test_the_page_tells_verdict_classes_and_flips_and_escapes_them() -> None:
    text = page(Evidence(PRIMARY, (NONE,), (Learned("scale", 5, 5),), {"ash": 4}))
    for part in ("a &lt;reason&gt;", "&lt;b&gt;hole&lt;/b&gt;", "&lt;0.001", "0.566 to 1.000"):
        assert part in text
    assert "<b>hole</b>" in text  # the truth of the flip, and nothing else
    assert text.count("<b>hole</b>") == 1
    assert "unknown to the challenger" in text
    assert "script-src" not in text
    assert "<script" not in text


def test_a_leak_is_a_page_without_figures() -> None:
    text = page(None)
    assert "Refuse" in text
    assert "Not worse?" not in text
    assert "number 1" in text
    assert "Nobody can tell." in text
