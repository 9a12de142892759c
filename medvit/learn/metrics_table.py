"""The figures of a training as a table, a row an epoch, that goes on after an interruption."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from medvit import atomic

METRICS_FILE = "metrics.csv"


class MetricsTable(Logger):
    """Writes `metrics.csv`: columns `epoch`, `step`, then whatever is logged, by name.

    Rows of an earlier process stay, but for steps that are done again.

    Args:
        folder: Where the file lies.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / METRICS_FILE
        self.rows: dict[int, dict[str, Any]] | None = None

    @property
    def name(self) -> str:
        """Nothing: the file lies in the folder itself."""
        return ""

    @property
    def version(self) -> str:
        """Nothing: there is one."""
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add figures to the row of a step."""
        now = len(self.rows or ()) if step is None else step
        if self.rows is None:
            self.rows = {at: row for at, row in self._earlier().items() if at < now}
        self.rows.setdefault(now, {}).update(metrics)
        self._write(self.rows)

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Keep nothing: settings lie beside the table."""

    def _earlier(self) -> dict[int, dict[str, Any]]:
        if not self.path.is_file():
            return {}
        with self.path.open(encoding="utf-8", newline="") as file:
            return {
                int(row.pop("step")): {name: value for name, value in row.items() if value}
                for row in csv.DictReader(file)
            }

    def _write(self, rows: Mapping[int, Mapping[str, Any]]) -> None:
        names = {name: None for row in rows.values() for name in row}
        others = sorted(names.keys() - {"epoch"})
        text = io.StringIO()
        table = csv.DictWriter(text, ["epoch", "step", *others], lineterminator="\n")
        table.writeheader()
        table.writerows({"step": step, **row} for step, row in sorted(rows.items()))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(self.path, text.getvalue())
