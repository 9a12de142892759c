"""The shipped nodule detector on cases it was not trained on, beside its rivals.

Unseen phantoms; nodules put into scans of patients it has not seen; and the real
findings at hand, one by one. Rivals: a convolutional baseline of equal cost (a
model trained by the same command with `model.backbone=segresnet_small`), and a
classical blob detector. Made nodules are not patients: none of these figures says
how it does in a clinic.

Every searched scan is kept in `--work`, so an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from blobs import Blobs
from claims import Claim, write_claims
from rich.progress import track

from medvit.inference.nodules import detect_nodules
from medvit.io.discover import discover
from medvit.io.pyramids import hold_pyramid
from medvit.io.readers import open_volume
from medvit.metrics.froc import (
    Annotation,
    Mark,
    bootstrap_froc,
    froc_by_diameter,
    froc_of,
    match_scans,
)
from medvit.models.weights import load_model
from medvit.registry.registry import find_model
from medvit.volume.volume import Volume
from pipelines.nodule_evaluation import Trial, insertion_trial, phantom_trial, search_trial

T = TypeVar("T", Annotation, Mark)

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
REAL = {
    "LIDC-IDRI-0001": ("lidc/LIDC-IDRI-0001", LIDC_NODULE),
    "Lung-PET-CT-Dx A0002 (trained on as background, its tumour left out of the loss)": (
        "lung_pet_ct_dx/A0002/series3_B40f",
        TUMOUR,
    ),
    "chest99 (no annotation)": ("chest99", None),
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
def detector(model: str) -> torch.nn.Module:
    torch.set_num_threads(1)
    if model == BLOBS:
        return Blobs().eval()
    module, _ = load_model(find_model(model, task="nodule").folder)
    return module


def search(name: str, *, models: Sequence[str]) -> dict[str, Any]:
    """Make one trial and let every model search it."""
    trial = make_trial(name)
    return {
        "name": name,
        "planted": [asdict(row) for row in trial.planted],
        "kinds": list(trial.kinds),
        "excluded": [asdict(row) for row in trial.excluded],
        "marks": {
            model: [asdict(mark) for mark in search_trial(detector(model), trial)]
            for model in models
        },
    }


def searched(
    names: Sequence[str], models: Sequence[str], work: Path, *, workers: int
) -> dict[str, dict[str, Any]]:
    """Return every trial with its marks; those of an earlier run are taken from `work`."""
    work.mkdir(parents=True, exist_ok=True)
    journal = work / "trials.jsonl"
    lines = journal.read_text("utf-8").splitlines() if journal.exists() else []
    done = {row["name"]: row for row in map(json.loads, lines)}
    done = {name: row for name, row in done.items() if set(models) <= set(row["marks"])}
    todo = [name for name in names if name not in done]
    spawned = get_context("spawn")
    with (
        ProcessPoolExecutor(workers, mp_context=spawned) as pool,
        journal.open("a", encoding="utf-8") as file,
    ):
        rows = pool.map(partial(search, models=models), todo)
        for row in track(rows, "scans", total=len(todo)):
            file.write(json.dumps(row) + "\n")
            file.flush()
            done[row["name"]] = row
    return {name: done[name] for name in names}


def figures(rows: Sequence[dict[str, Any]], model: str) -> dict[str, Any]:
    """Score one model: FROC with its band, by size and by what nodules are made of."""
    planted = [_named(Annotation, each, row) for row in rows for each in row["planted"]]
    kinds = [kind for row in rows for kind in row["kinds"]]
    excluded = [_named(Annotation, each, row) for row in rows for each in row["excluded"]]
    marks = [_named(Mark, each, row) for row in rows for each in row["marks"][model]]
    names = [row["name"] for row in rows]
    matches = match_scans(marks, planted, excluded=excluded, series=names)
    by_kind = {}
    for kind in sorted(set(kinds)):
        own = [each for each, made_of in zip(planted, kinds, strict=True) if made_of == kind]
        others = [each for each, made_of in zip(planted, kinds, strict=True) if made_of != kind]
        part = match_scans(marks, own, excluded=[*excluded, *others], series=names)
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


def _named(kind: type[T], values: dict[str, Any], row: dict[str, Any]) -> T:
    """Return a mark or annotation under the name of its trial."""
    return kind(**{**values, "series_uid": row["name"]})


def _brief(result: Any) -> dict[str, float]:
    return {
        "cpm": round(result.cpm, 4),
        "sensitivity_at_1": round(result.sensitivity[3], 4),
        "sensitivity_at_4": round(result.sensitivity[FP_AT], 4),
        "max_sensitivity": round(result.max_sensitivity, 4),
    }


def real_findings(model: str) -> Iterator[dict[str, Any]]:
    """Search the real scans; tell the rank of the annotated finding, and list all marks."""
    for name, (folder, finding) in REAL.items():
        marks = detect_nodules(hold_pyramid(open_scan(folder)), detector(model)).nodules
        listed = [
            {
                "centre_lps_mm": [round(x, 1) for x in mark.centre_lps_mm],
                "diameter_mm": round(mark.diameter_mm, 1),
                "probability": round(mark.probability, 3),
            }
            for mark in marks
        ]
        row: dict[str, Any] = {"scan": name, "marks": len(marks), "first_marks": listed[:10]}
        if finding is not None:
            away = [float(np.linalg.norm(np.array(m.centre_lps_mm) - finding[:3])) for m in marks]
            inside = [rank for rank, mm in enumerate(away, 1) if mm < finding[3] / 2]
            row |= {
                "annotated_diameter_mm": finding[3],
                "rank": inside[0] if inside else None,
                "distance_mm": round(away[inside[0] - 1], 2) if inside else None,
            }
        yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phantoms", type=int, default=60)
    parser.add_argument("--insertions", type=int, default=40, help="scans, over all hosts")
    parser.add_argument("--model", default="nodule-swin3d")
    parser.add_argument("--baseline", help="a registered convolutional detector")
    parser.add_argument("--work", type=Path, default=Path("medvit-workspace/bench-nodules"))
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="scans at a time")
    given = parser.parse_args()
    hosts = [name for name, host in HOSTS.items() if (SCANS / host.folder).is_dir()]
    sets = {
        "unseen phantoms": [f"phantom/{number}" for number in range(given.phantoms)],
        "insertions in unseen patients": [
            f"{hosts[number % len(hosts)]}/{number}" for number in range(given.insertions) if hosts
        ],
    }
    models = [given.model, *([given.baseline] if given.baseline else []), BLOBS]
    rival = given.baseline or BLOBS
    claims, tables = [], {}
    wanted = [name for names in sets.values() for name in names]
    found = searched(wanted, models, given.work, workers=given.workers)
    for title, names in sets.items():
        if not names:
            continue
        rows = [found[name] for name in names]
        tables[title] = {model: figures(rows, model) for model in models}
        ours, theirs = tables[title][given.model], tables[title][rival]
        for what, target, value in (
            ("CPM", 0.95, lambda table: table["cpm"]),
            ("sensitivity at 4 FP a scan", 0.982, lambda table: table["sensitivity"][FP_AT]),
        ):
            pair = (round(value(ours), 4), round(value(theirs), 4))
            claims.append(Claim(f"{what}, {title}", pair[0], "", rival, pair[1], target))
    version = find_model(given.model, task="nodule")
    real = list(real_findings(given.model)) if hosts else []
    write_claims("nodules", claims, model=version.reference, tables=tables, real=real)


if __name__ == "__main__":
    main()
