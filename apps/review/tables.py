"""Tables of text on a page; nothing in a cell is taken for Markdown or HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apps.review import session
from apps.review.components import draw_cases


def draw_table(
    key: str,
    heading: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    empty: str,
) -> None:
    """Draw a table of text; a column named `#Name` holds figures, `@Name` moments."""
    data = {
        "part": "table",
        "heading": heading,
        "columns": [name.lstrip("#@") for name in columns],
        "rows": [list(row) for row in rows],
        "figures": [place for place, name in enumerate(columns) if name.startswith("#")],
        "moments": [place for place, name in enumerate(columns) if name.startswith("@")],
        "empty": "" if rows else empty,
    }
    draw_cases(data, key=f"table_{key}", on_open=session.open_case)
