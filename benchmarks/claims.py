"""What a benchmark writes: claims beside a rival's figures, printed as they are saved."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True, slots=True)
class Claim:
    """One figure beside a rival's; `larger_is_better` says which way `ratio` and `met` go."""

    name: str
    value: float
    unit: str
    rival: str
    rival_value: float | None
    target: float | None
    larger_is_better: bool = True

    def row(self) -> dict[str, Any]:
        """Return the claim as the results file holds it; a ratio above 1 is in our favour."""
        row = asdict(self)
        better = row.pop("larger_is_better")
        pair = (self.value, self.rival_value) if better else (self.rival_value, self.value)
        ratio = None if not all(pair) else round(float(pair[0] or 0) / float(pair[1] or 1), 3)
        met = self.target is None or (
            self.value >= self.target if better else self.value <= self.target
        )
        return {**row, "ratio": ratio, "met": bool(met)}


def write_claims(name: str, claims: Sequence[Claim], **more: Any) -> Path:
    """Write `benchmarks/results/<name>.json` and print a line for each claim."""
    rows = [claim.row() for claim in claims]
    answer = {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "claims": rows,
        **more,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(answer, indent=2) + "\n", encoding="utf-8")
    for row in rows:
        verdict = "met" if row["met"] else "not met"
        rival = f"{row['rival_value']} {row['rival']} (ratio {row['ratio']})"
        print(f"{verdict:8} {row['name']}: {row['value']} {row['unit']}; {rival}")
    return path
