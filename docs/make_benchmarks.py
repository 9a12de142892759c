"""Write docs/benchmarks.md anew from benchmarks/results.

python docs/make_benchmarks.py
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
BENCHMARKS = PROJECT / "benchmarks"
PAGE = PROJECT / "docs" / "benchmarks.md"
HEAD = """# All figures

Written by `python docs/make_benchmarks.py` from `benchmarks/results`: every figure that a benchmark
claimed when it ran last, beside the rival that ran with it and the target that was set before.
Targets that were missed stand here like the others. A ratio above 1 is in favour of medvit. Each
benchmark is `python benchmarks/NAME.py`, with `--help`; what the tables behind a figure hold
(seeds, folds, spread) is in its results file.
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Return the page, a section for each results file."""
    files = sorted((BENCHMARKS / "results").glob("*.json"))
    return "\n".join([HEAD, *(_section(file) for file in files)])


def _section(file: Path) -> str:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    script = BENCHMARKS / f"{file.stem}.py"
    about = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    lines = [
        f"## {file.stem}",
        "",
        " ".join(about.split("\n\n")[0].split()),
        "",
        f"`python benchmarks/{script.name}`; {found['machine']}; {found['date'][:10]}; "
        f"[results](../benchmarks/results/{file.name})",
        "",
        "| what | measured | rival | ratio | target |",
        "|---|---|---|---|---|",
        *_rows(found["claims"]),
        "",
    ]
    return "\n".join(lines)


def _rows(claims: list[dict[str, Any]]) -> Iterator[str]:
    for claim in claims:
        unit = f" {claim['unit']}" if claim["unit"] else ""
        is_beside = claim["rival_value"] is not None and claim["rival"] != "target"
        rival = "-"
        if is_beside:
            rival = f"{claim['rival']}: {_told(claim['rival_value'])}{unit}"
        target = "-"
        if claim["target"] is not None:
            target = f"{_told(claim['target'])}{unit}, {'met' if claim['met'] else '**missed**'}"
        ratio = _told(claim["ratio"]) if is_beside and claim["ratio"] is not None else "-"
        cells = (claim["name"], f"{_told(claim['value'])}{unit}", rival, ratio, target)
        yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _told(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


if __name__ == "__main__":
    main()
