"""Scans with planted nodules whose places are known, searched by several detectors.

Unseen phantoms, and nodules put into scans of patients that no detector here has seen.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from blobs import Blobs
from rich.progress import track

from medvit.io.discover import discover
from medvit.io.readers import open_volume
from medvit.metrics.froc import (
    Annotation,
    Mark,
    ScanMatches,
    bootstrap_froc,
    froc_by_diameter,
    froc_of,
    match_scans,
)
from medvit.models.weights import load_model
from medvit.registry.registry import find_model
from medvit.volume.volume import Volume
from pipelines.nodules.evaluation import Trial, insertion_trial, phantom_trial, search_trial

T = TypeVar("T", Annotation, Mark)
Row = dict[str, Any]

SCANS = Path(__file__).resolve().parents[2] / "shared/data/ct"
FIRST_SEED = 5000
BLOBS = "blobs"
FP_AT = 5
"""Place of 4 false marks a scan among the seven rates."""

LIDC_NODULE = (56.208, 86.343, -115.868, 23.35)
"""LUNA16's annotation of LIDC-IDRI-0001, LPS mm."""

TUMOUR = (-62.0, -100.0, 212.0, 92.0)
"""What the ten boxes of Lung-PET-CT-Dx A0002 enclose, LPS mm."""


@dataclass(frozen=True, slots=True)
class Host:
    """A scan that nodules are put into; `known` are lesions it has, LPS mm."""

    folder: str
    nodules: int
    known: tuple[tuple[float, float, float, float], ...] = ()


HOSTS = {
    "lidc-0001": Host("lidc/LIDC-IDRI-0001", 4, (LIDC_NODULE,)),
    "chest99": Host("chest99", 6),
}


def open_scan(folder: str) -> Volume:
    return open_volume(next(case for case in discover(SCANS / folder).cases if case.kind == "ct"))


def make_trial(name: str) -> Trial:
    kind, number = name.rsplit("/", 1)
    if kind == "phantom":
        return phantom_trial(FIRST_SEED + int(number))
    host = HOSTS[kind]
    rng = np.random.default_rng([FIRST_SEED, int(number)])
    volume = open_scan(host.folder)
    return insertion_trial(volume, name=name, count=host.nodules, rng=rng, excluded=host.known)


@cache
def detector(model: str, models: Path | None) -> torch.nn.Module:
    torch.set_num_threads(1)
    if model == BLOBS:
        return Blobs().eval()
    module, _ = load_model(find_model(model, task="nodule", models=models).folder)
    return module


def search(known: Row, *, models: Sequence[str], folder: Path | None) -> Row:
    """Make one trial, and let every model search it whose marks are not known.

    Args:
        known: Name of the trial, and marks of earlier runs by model.
        folder: Of registered models; None knows the shipped ones alone.
    """
    trial = make_trial(known["name"])
    marks = dict(known.get("marks", {}))
    for model in models:
        if model not in marks:
            marks[model] = [asdict(each) for each in search_trial(detector(model, folder), trial)]
    return {
        "name": known["name"],
        "planted": [asdict(row) for row in trial.planted],
        "kinds": list(trial.kinds),
        "excluded": [asdict(row) for row in trial.excluded],
        "marks": marks,
    }


def read_trials(journal: Path) -> dict[str, Row]:
    """Return the trials of earlier runs by name, the latest of each."""
    lines = journal.read_text("utf-8").splitlines() if journal.exists() else []
    return {row["name"]: row for row in map(json.loads, lines)}


def searched(
    names: Sequence[str],
    models: Sequence[str],
    journal: Path,
    *,
    workers: int,
    folder: Path | None = None,
) -> list[Row]:
    """Return trials with the marks of each model; those of an earlier run are in `journal`."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    done = read_trials(journal)
    todo = [
        done.get(name, {"name": name})
        for name in names
        if name not in done or not set(models) <= set(done[name]["marks"])
    ]
    spawned = get_context("spawn")
    with (
        ProcessPoolExecutor(workers, mp_context=spawned) as pool,
        journal.open("a", encoding="utf-8") as file,
    ):
        rows = pool.map(partial(search, models=models, folder=folder), todo)
        for row in track(rows, "scans", total=len(todo)):
            file.write(json.dumps(row) + "\n")
            file.flush()
            done[row["name"]] = row
    return [done[name] for name in names]


def trial_names(*, phantoms: int, insertions: int) -> dict[str, list[str]]:
    """Return the names of trials by set; insertions go round the hosts that are there."""
    hosts = [name for name, host in HOSTS.items() if (SCANS / host.folder).is_dir()]
    put_in = [f"{hosts[number % len(hosts)]}/{number}" for number in range(insertions) if hosts]
    sets = {
        "unseen phantoms": [f"phantom/{number}" for number in range(phantoms)],
        "insertions in unseen patients": put_in,
    }
    return {title: names for title, names in sets.items() if names}


def figures(rows: Sequence[Row], model: str) -> Row:
    """Score one model: FROC with its band, by size and by what nodules are made of."""
    planted = [_named(Annotation, each, row) for row in rows for each in row["planted"]]
    kinds = [kind for row in rows for kind in row["kinds"]]
    matches = matches_of(rows, model, planted=planted)
    by_kind = {}
    for kind in sorted(set(kinds)):
        own = [each for each, made_of in zip(planted, kinds, strict=True) if made_of == kind]
        others = [each for each, made_of in zip(planted, kinds, strict=True) if made_of != kind]
        part = matches_of(rows, model, planted=own, ignored=others)
        by_kind[kind] = {"nodules": len(own), **_brief(froc_of(part))}
    band = bootstrap_froc(matches, rng=np.random.default_rng(0))
    sizes = froc_by_diameter(matches, rng=np.random.default_rng(0))
    return {
        **asdict(froc_of(matches)),
        "cpm_95": band.cpm,
        "sensitivity_95": band.sensitivity,
        "by_size": {
            size.name: {"nodules": size.result.n_annotations, **_brief(size.result)}
            for size in sizes
        },
        "by_kind": by_kind,
    }


def matches_of(
    rows: Sequence[Row],
    model: str,
    *,
    planted: Sequence[Annotation] | None = None,
    ignored: Sequence[Annotation] = (),
) -> list[ScanMatches]:
    """Return which marks of a model hit what was planted, scan by scan.

    Args:
        planted: None takes all of it.
        ignored: What neither helps nor hurts, beside the lesions that a scan had before.
    """
    if planted is None:
        planted = [_named(Annotation, each, row) for row in rows for each in row["planted"]]
    excluded = [_named(Annotation, each, row) for row in rows for each in row["excluded"]]
    marks = [_named(Mark, each, row) for row in rows for each in row["marks"][model]]
    names = [row["name"] for row in rows]
    return match_scans(marks, planted, excluded=[*excluded, *ignored], series=names)


def _named(kind: type[T], values: dict[str, Any], row: Row) -> T:
    """Return a mark or annotation under the name of its trial."""
    return kind(**{**values, "series_uid": row["name"]})


def _brief(result: Any) -> dict[str, float]:
    return {
        "cpm": round(result.cpm, 4),
        "sensitivity_at_1": round(result.sensitivity[3], 4),
        "sensitivity_at_4": round(result.sensitivity[FP_AT], 4),
        "max_sensitivity": round(result.max_sensitivity, 4),
    }
