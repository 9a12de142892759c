"""Draw the picture of docs/effort.md from what benchmarks/effort.py measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "benchmarks/results/effort.json"
PANELS = (
    ("unseen phantoms", "Unseen phantoms"),
    ("insertions in a whole chest, 8 mm slices", "Made nodules in a real chest"),
)
WIDTH, HEIGHT, LEFT, TOP, GAP = 340, 300, 70, 50, 60
CURVES = (
    ("recall_by_yield", "#0b6e99", "in order of expected yield", ""),
    ("recall_by_volume", "#999999", "most lung first", "6 4"),
)


def main() -> None:
    """Write effort/curve.svg beside this file."""
    tables = json.loads(RESULTS.read_text(encoding="utf-8"))["tables"]
    panels = [(tables[key], title) for key, title in PANELS if key in tables]
    body = [panel(table, title, number) for number, (table, title) in enumerate(panels)]
    width = LEFT + len(panels) * (WIDTH + GAP)
    out = HERE / "effort" / "curve.svg"
    out.parent.mkdir(exist_ok=True)
    out.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT + 130}" '
        'font-family="sans-serif" font-size="13">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{"".join(body)}</svg>\n',
        encoding="utf-8",
    )


def panel(table: dict[str, Any], title: str, number: int) -> str:
    """Return one plot: axes, two curves, a dot for each effort."""
    left = LEFT + number * (WIDTH + GAP)

    def at(share: float, recall: float) -> tuple[float, float]:
        return round(left + WIDTH * share, 1), round(TOP + HEIGHT * (1 - recall), 1)

    parts = [text(left + WIDTH / 2, TOP - 18, f"{title}: {table['nodules']} nodules", bold=True)]
    for step in range(6):
        x, y = at(step / 5, step / 5)
        parts.append(
            f'<path d="M{left} {y}H{left + WIDTH}M{x} {TOP}V{TOP + HEIGHT}" stroke="#e6e6e6"/>\n'
        )
        parts.append(text(x, TOP + HEIGHT + 18, f"{20 * step}%"))
        parts.append(text(left - 22, y + 4, f"{20 * step}%"))
    parts.append(text(left + WIDTH / 2, TOP + HEIGHT + 38, "tiles looked at"))
    for row, (key, colour, name, dash) in enumerate(CURVES):
        points = (at(s, r) for s, r in zip(table["share_of_tiles"], table[key], strict=True))
        line = " ".join(f"{x},{y}" for x, y in points)
        style = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
        parts.append(f'<polyline points="{line}" {style}/>\n')
        y = TOP + HEIGHT + 56 + 18 * row
        parts.append(f'<path d="M{left + 40} {y - 4}h30" {style}/>\n')
        parts.append(text(left + 80, y, f"nodules reached, {name}", anchor="start"))
    for effort in ("fast", "balanced"):
        found = table["efforts"][effort]
        x, y = at(found["share_of_tiles"], found["recall"])
        parts.append(f'<circle cx="{x}" cy="{y}" r="5" fill="#c0392b"/>\n')
        parts.append(text(x - 8, y + 22, effort, anchor="end", bold=True))
    return "".join(parts)


def text(x: float, y: float, words: str, *, anchor: str = "middle", bold: bool = False) -> str:
    """Return one line of text as SVG."""
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{weight}>{words}</text>\n'


if __name__ == "__main__":
    main()
