"""Trainings that a table is made of: one row at a time, kept, and gone on with after a kill.

Group-disjoint: NEU's lists dev_train and dev_val. Labels are spoilt in the training part
only; the last epoch is scored; plain cross entropy stands in the same table.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from claims import RESULTS, Claim, write_claims

from medvit.data.manifest import ManifestRow, write_manifest
from medvit.workspace import Workspace
from pipelines.classifying import train
from pipelines.classifying.config import ClassifyConfig
from pipelines.config import check_config

PROJECT = Path(__file__).resolve().parents[1]
DEFECTS = PROJECT.parent / "shared/data/defects"


FROZEN_METHODS: dict[str, dict[str, Any]] = {
    f"frozen, texture, {prototype}": {
        "model": {"texture": True},
        "tuning": {"method": "prototype", "prototype": prototype},
    }
    for prototype in ("tied_covariance", "spread")
}
"""Nothing but a linear head is fitted, to features of the weights joined with plain texture."""


@dataclass(frozen=True, slots=True)
class Row:
    """One training of a table.

    Attributes:
        table: Which data, such as `sym20`.
        method: What is done about them, such as `co_teaching`.
        rows: Of the manifest: split train with the labels as given, split test with right ones.
        changes: Sections of the config.
    """

    table: str
    method: str
    rows: Sequence[ManifestRow]
    root: Path
    changes: Mapping[str, Any] = field(default_factory=dict)


def parser(text: str | None) -> argparse.ArgumentParser:
    """Return the options that all tables share."""
    found = argparse.ArgumentParser(description=text)
    found.add_argument("--defects", type=Path, default=DEFECTS, help="folder with neu-det, elpv")
    found.add_argument("--workspace", type=Path, default=Path("medvit-workspace/benchmarks"))
    found.add_argument("--seeds", type=int, default=3)
    found.add_argument("--epochs", type=int, default=40)
    found.add_argument(
        "--weights",
        nargs="+",
        default=["steel-defects"],
        help="registered models or their folders, one a seed in turn; or none",
    )
    found.add_argument("--backbone", default="vit_tiny_stem")
    found.add_argument("--tuning", default="full")
    found.add_argument("--lr", type=float, default=5e-4)
    found.add_argument("--tables", nargs="*", help="only these")
    found.add_argument("--methods", nargs="*", help="only these")
    found.add_argument("--images", type=int, help="at most so many a split: to try it out")
    return found


def steel_rows(
    defects: Path, *, labels: Mapping[str, str], most: int | None = None
) -> list[ManifestRow]:
    """Return NEU as a manifest: images with a label train, dev_val is tested on right labels."""
    folder = defects / "neu-det"
    with (folder / "neu-det-dev.csv").open(encoding="utf-8") as stream:
        known = {row["image"]: row for row in csv.DictReader(stream)}
    test = (folder / "splits/dev_val.txt").read_text(encoding="utf-8").split()
    chosen = {"train": list(labels), "test": test}
    rows = []
    for split, names in chosen.items():
        step = 1 if most is None else max(1, len(names) // most)
        for name in names[::step]:
            label = labels[name] if split == "train" else known[name]["class"]
            rows.append(ManifestRow(f"{name}.jpg", label, split, known[name]["group"]))
    return rows


def right_labels(defects: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the class of each image of NEU."""
    with (defects / "neu-det/neu-det-dev.csv").open(encoding="utf-8") as stream:
        known = {row["image"]: row["class"] for row in csv.DictReader(stream)}
    return {name: known[name] for name in names}


def weights_of(given: argparse.Namespace, seed: int) -> str:
    """Return the weights that a seed starts from."""
    chosen: str = given.weights[seed % len(given.weights)]
    return chosen


def run_row(row: Row, given: argparse.Namespace, *, seed: int) -> dict[str, Any]:
    """Train and score a row, or return what was kept of it.

    A row that was killed goes on from its last whole epoch.
    """
    weights = weights_of(given, seed)
    name = re.sub(r"[^a-z0-9]+", "-", f"{row.table}-{row.method}-{seed}".lower())
    recipe = {
        "weights": weights,
        "backbone": given.backbone,
        "tuning": given.tuning,
        "epochs": given.epochs,
        "lr": given.lr,
        "images": given.images,
        "changes": dict(row.changes),
    }
    kept = given.workspace / "rows" / f"{name}.json"
    if kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        if found["recipe"] == recipe:
            return found
    manifest = given.workspace / "manifests" / f"{name}.csv"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    soft = ("defective", "functional") if any(each.soft for each in row.rows) else ()
    write_manifest(manifest, row.rows, soft)
    config = check_config(
        ClassifyConfig, _values(row, given, manifest, name=name, seed=seed), name=name
    )
    answer = train.run(config, Workspace(given.workspace / "trainings" / name))
    record = json.loads((Path(answer["run"]) / "run.json").read_text(encoding="utf-8"))
    keys = ("accuracy", "balanced_accuracy", "macro_f1", "by_frequency", "nll", "n")
    found = {key: answer["metrics"][key] for key in keys}
    found |= {"noise": record.get("noise"), "seconds": record["seconds"], "recipe": recipe}
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def _values(
    row: Row, given: argparse.Namespace, manifest: Path, *, name: str, seed: int
) -> dict[str, Any]:
    values: dict[str, dict[str, Any]] = {
        "data": {"manifest": str(manifest), "root": str(row.root), "side_px": 128},
        "model": {"name": name, "backbone": given.backbone, "weights": weights_of(given, seed)},
        "train": {
            "epochs": given.epochs,
            "batch_size": 32,
            "lr": given.lr,
            "seed": seed,
            "warmup_epochs": min(3, given.epochs / 4),
        },
        "tuning": {"method": given.tuning},
        "views": {"side_px": 112, "min_area": 0.6},
        "loss": {"name": "cross_entropy"},
    }
    merged = {name: {**values.get(name, {}), **own} for name, own in row.changes.items()}
    return {"task": "classify", **values, **merged}


def _told(run: dict[str, Any]) -> dict[str, Any]:
    """Return a row as it is published: weights by name and version, not by where they lie."""
    weights = "/".join(Path(run["recipe"]["weights"]).parts[-2:])
    return {**run, "recipe": {**run["recipe"], "weights": weights}}


def write_table(name: str, claims: Sequence[Claim], tables: Mapping[str, Any]) -> None:
    """Write the results; those of earlier runs that were not asked for now stay."""
    path = RESULTS / f"{name}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_claims(name, claims, tables={**before.get("tables", {}), **tables})
    answer = json.loads(path.read_text(encoding="utf-8"))
    new = {claim["name"] for claim in answer["claims"]}
    earlier = [claim for claim in before.get("claims", []) if claim["name"] not in new]
    answer["claims"] = earlier + answer["claims"]
    path.write_text(json.dumps(answer, indent=2) + "\n", encoding="utf-8")


def run_table(rows: Sequence[Row], given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Run all rows that were asked for with all seeds, and return means and spreads."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        if given.tables and row.table not in given.tables:
            continue
        if given.methods and row.method not in given.methods:
            continue
        runs = [_told(run_row(row, given, seed=seed)) for seed in range(given.seeds)]
        name = f"{row.table}: {row.method}"
        found[name] = {"runs": runs}
        for figure in ("accuracy", "balanced_accuracy"):
            values = [100 * run[figure] for run in runs]
            found[name][figure] = round(statistics.mean(values), 2)
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            found[name][f"{figure}_sd"] = round(spread, 2)
        print(f"{found[name]['accuracy']:6.2f} {found[name]['balanced_accuracy']:6.2f} {name}")
    return found
