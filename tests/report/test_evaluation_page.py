from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime

from medvit.report.evaluation_page import Heading, evaluation_page, figure_table, section, tiles

HEADING = Heading("<p.csv>", datetime(2026, 5, 4, 12, 30, tzinfo=UTC), "1.2", ("line 3: <odd>",))


def test_a_page_stands_alone_and_escapes_what_it_is_told() -> None:
    table = figure_table(("name", "value"), [("<script>", 0.5)])
    page = evaluation_page(HEADING, tiles(("0.5", "CPM")), section("A & B", "x < y", table))
    assert "<script" not in page
    assert "src=" not in page
    assert "&lt;p.csv&gt;" in page
    assert "line 3: &lt;odd&gt;" in page
    assert "4 May 2026, 12:30 UTC" in page
    assert '<td class="right">0.5</td>' in page


def test_the_policy_allows_the_style_that_is_there() -> None:
    page = evaluation_page(HEADING)
    style = re.search("<style>(.*)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src &#x27;sha256-{digest}&#x27;" in page
