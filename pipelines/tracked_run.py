"""What a run folder tells a tracking server: names, numbers and words, no path and no person."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from medvit.errors import InputError
from pipelines.run_record import RUN_FILE, environment
from pipelines.training.run import IDENTITY_FILE

METRICS_FILE = "metrics.csv"
RESULTS_FILE = "results.csv"
LONGEST_NAME = 250
"""Characters of a name that MLflow's databases take."""
LONGEST_VALUE = 500
PRIVATE = frozenset(
    {
        *("annotations", "by", "cases", "excluded", "file", "folder", "images", "lock", "manifest"),
        *("out", "path", "patients", "predictions", "reader", "readers", "root", "samples"),
        *("scans", "series", "source", "sources", "workspace"),
    }
)
"""Names of settings that hold a path or a person; folders are named for patients at times."""
TAGS = ("model", "model_sha256", "champion", "device", "promoted", "cut_short")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of a run; `step` counts steps of the optimiser, or epochs, and is 0 at the end."""

    name: str
    value: float
    step: int = 0


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """What is told of a run.

    Attributes:
        experiment: One for each command, such as `medvit train`.
        name: For people, such as `train/3 steel-defects`.
        settings: Flattened, as text.
        tags: Versions, the model, what it ran on, and what the gate said.
        figures: By step, and the last ones under `final/`.
        state: `done`, `failed` or `interrupted`; `running` where there is no `run.json` yet.
        ended_s: When it ended, in seconds since 1970; None while it runs.
        seconds: What it took; 0 where it does not say.
    """

    experiment: str
    name: str
    settings: Mapping[str, str]
    tags: Mapping[str, str]
    figures: tuple[Figure, ...]
    state: str
    ended_s: float | None
    seconds: float


def read_tracked(folder: Path) -> TrackedRun:
    """Read a run folder, also that of a training on its way.

    Raises:
        InputError: If the folder holds no run, or a file of it cannot be read.
    """
    folder = folder.resolve()
    record = _read_json(folder / RUN_FILE)
    known = record or {"settings": _read_json(folder / IDENTITY_FILE), **environment()}
    if not record and not known["settings"]:
        msg = f"{folder}: no {RUN_FILE} there, so it is no run of medvit"
        raise InputError(msg, hint="name a folder such as medvit-workspace/runs/train/1")
    settings = dict(_told(known.get("settings") or {}))
    ended = datetime.fromisoformat(known["date"]).timestamp() if record else None
    command = folder.parent.name
    return TrackedRun(
        experiment=f"medvit {command}",
        name=f"{command}/{folder.name} {_model_name(settings, known)}".strip(),
        settings=settings,
        tags={"medvit.command": command, **_tags(known)},
        figures=(*_steps(folder), *_last(record)),
        state=_state(record),
        ended_s=ended,
        seconds=float(record.get("seconds") or 0),
    )


def clean_name(name: str) -> str:
    """Return a name in the letters that MLflow takes; slashes make groups.

    Examples:
        >>> clean_name("per class/edge, (left)/ap@50")
        'per class/edge_ _left_/ap_50'
    """
    parts = (re.sub(r"[^A-Za-z0-9_.\- ]", "_", part).strip() for part in name.split("/"))
    return "/".join("_" if set(part) <= {"."} else part for part in parts)[:LONGEST_NAME]


def is_path(value: str) -> bool:
    r"""Whether a text names a place on a disk, or may do so.

    Examples:
        >>> is_path("../SMITH_JOHN/ct"), is_path("C:\\scans"), is_path("cross_entropy")
        (True, True, False)
    """
    if "/" in value or "\\" in value or value.startswith("~"):
        return True
    try:
        return bool(value) and Path(value).exists()
    except (OSError, ValueError):  # too long a name, or a zero byte, is no file
        return False


def _told(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in _flat(values):
        parts = name.split("/")
        items = value if isinstance(value, list) else [value]
        texts = [each for each in items if isinstance(each, str)]
        if PRIVATE.intersection(parts) or any(is_path(text) for text in texts):
            continue
        if any(isinstance(each, (dict, list)) for each in items):
            continue
        yield clean_name(name).replace("/", "."), str(value)[:LONGEST_VALUE]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested values, slashes between their names."""
    for key, value in values.items():
        name = f"{prefix}{str(key).replace('/', '_')}"
        if isinstance(value, dict):
            yield from _flat(value, f"{name}/")
        else:
            yield name, value


def _model_name(settings: Mapping[str, str], known: Mapping[str, Any]) -> str:
    """Return what a training calls its model, or the model that a run was about."""
    named = settings.get("model.name") or known.get("model") or settings.get("champion") or ""
    return str(named).partition("@")[0]


def _tags(known: Mapping[str, Any]) -> dict[str, str]:
    found = {name: known.get(name) for name in ("version", "commit", *TAGS)}
    gate = known.get("gate")
    if isinstance(gate, dict):
        found["gate"] = gate.get("verdict")
    return {f"medvit.{name}": str(value) for name, value in found.items() if value is not None}


def _state(record: Mapping[str, Any]) -> str:
    if not record:
        return "running"
    is_lost = "model" in record and record["model"] is None and record.get("failures")
    return "failed" if is_lost else str(record.get("state", "done"))


def _steps(folder: Path) -> Iterator[Figure]:
    """Yield the rows of both tables; one of `metrics.csv` without its epoch is not whole yet."""
    rows = [row for row in _read_table(folder / METRICS_FILE) if row.get("epoch")]
    by_step = {name for row in rows for name in row}
    for row in rows:
        step = int(row.pop("step"))
        yield from _row(row.items(), step=step)
    for row in _read_table(folder / RESULTS_FILE):
        epoch = int(float(row.get("epoch") or 0))
        yield from _row(((k, v) for k, v in row.items() if k not in by_step), step=epoch)


def _row(cells: Iterable[tuple[str, str]], *, step: int) -> Iterator[Figure]:
    for name, text in cells:
        if name and text and math.isfinite(value := float(text)):
            yield Figure(clean_name(name), value, step)


def _last(record: Mapping[str, Any]) -> Iterator[Figure]:
    """Yield the numbers that a run ended with; lists and curves stay in its folder."""
    metrics = {k: v for k, v in (record.get("metrics") or {}).items() if k != "curves"}
    values = metrics | {name: record.get(name) for name in ("seconds", "measured_peak_mb")}
    taken = set()
    for name, value in _flat(values):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            continue
        clean = clean_name(f"final/{name}")
        while clean in taken:
            clean += "_"
        taken.add(clean)
        yield Figure(clean, float(value))


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{file}: not to be read as JSON: {error}"
        raise InputError(msg, hint="the run folder was altered; run the command anew") from error
    return values if isinstance(values, dict) else {}


def _read_table(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
