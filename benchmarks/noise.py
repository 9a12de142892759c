"""Wrong labels: NEU with 20 and 40 % flipped, the queue of suspects, soft labels, and costs.

`python benchmarks/noise.py --seeds 3 --epochs 40`; a table that was stopped goes on. Parts:
`--tables suspects`, `--tables costs --epochs 3`, `--tables elpv`, `--tables sym20`.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from claims import Claim
from steel_rows import FROZEN_METHODS, Row, parser, run_table, steel_rows, write_table

from medvit.data.manifest import ManifestRow, write_manifest
from medvit.learn.fit import EpochReport
from medvit.learn.noise.cross_validation import deal_groups
from medvit.workspace import Workspace
from pipelines import labels_suspects
from pipelines.classifying import train
from pipelines.classifying.config import ClassifyConfig
from pipelines.config import check_config

SHARES = (20, 40)
TARGETS = {20: 98.5, 40: 97.5}
# Data README: LBP with grey and gradient histograms, RBF SVM, on the same lists.
RIVALS = {20: 86.7, 40: 77.9}
PRUNE: dict[str, Any] = {"noise": {"method": "prune"}}
METHODS: dict[str, dict[str, Any]] = {
    "cross_entropy": {},
    "co_teaching": {"noise": {"method": "co_teaching"}},
    "dividemix": {"noise": {"method": "dividemix"}},
    "prune": PRUNE,
    **FROZEN_METHODS,
    **{f"prune, {name}": {**own, **PRUNE} for name, own in FROZEN_METHODS.items()},
}
MOST_COST = {"co_teaching": 2.1, "dividemix": 4.5}
COST_IMAGES = 96


def flips(given: argparse.Namespace, share: int) -> list[dict[str, str]]:
    """Return the list beside the data: image, right and given label."""
    file = given.defects / f"neu-det/splits/noisy_sym{share}.csv"
    with file.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def elpv_rows(given: argparse.Namespace) -> tuple[list[ManifestRow], list[ManifestRow]]:
    """Return solar cells with hard and with graded labels; a fifth of the runs is tested."""
    with (given.defects / "elpv/elpv-dev.csv").open(encoding="utf-8") as stream:
        cells = list(csv.DictReader(stream))
    cells = cells[:: 1 if given.images is None else max(1, len(cells) // given.images)]
    names = ("defective", "functional")
    labels = np.array([int(float(cell["prob"]) < 0.5) for cell in cells])
    groups = [f"{cell['type']} {cell['run']}" for cell in cells]
    folds = deal_groups(groups, labels)
    hard, soft = [], []
    for cell, label, group, fold in zip(cells, labels, groups, folds, strict=True):
        split = "test" if fold == 0 else "train"
        row = ManifestRow(cell["image"], names[label], split, group)
        shares = (float(cell["prob"]), 1 - float(cell["prob"]))
        hard.append(row)
        soft.append(ManifestRow(row.path, row.label, split, group, shares) if fold else row)
    return hard, soft


def rows_of(given: argparse.Namespace) -> list[Row]:
    """Return all trainings of the tables."""
    root = given.defects / "neu-det/images"
    rows = []
    for share in SHARES:
        labels = {each["image"]: each["noisy"] for each in flips(given, share)}
        images = steel_rows(given.defects, labels=labels, most=given.images)
        for method, changes in METHODS.items():
            rows.append(Row(f"sym{share}", method, images, root, changes))
    hard, soft = elpv_rows(given)
    cells = given.defects / "elpv/images"
    rows += [Row("elpv", "hard", hard, cells), Row("elpv", "graded", soft, cells)]
    return rows


def suspect_claims(given: argparse.Namespace) -> list[Claim]:
    """Measure the noise rate and the queue of suspects."""
    claims = []
    for share in SHARES:
        listed = flips(given, share)
        labels = {each["image"]: each["noisy"] for each in listed}
        rows = [row for row in steel_rows(given.defects, labels=labels) if row.split == "train"]
        wrong = {f"{e['image']}.jpg" for e in listed if e["noisy"] != e["clean"]}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "labels.csv"
            write_manifest(file, rows)
            settings = labels_suspects.SuspectSettings(
                manifest=file, root=given.defects / "neu-det/images"
            )
            found = labels_suspects.run(settings, Workspace(Path(folder) / "w"))
        hits = np.cumsum([each.path in wrong for each in found.suspects])
        needed = int(np.searchsorted(hits, 0.9 * len(wrong))) + 1
        reached = bool(len(hits)) and hits[-1] >= 0.9 * len(wrong)
        precision = float(hits[needed - 1] / needed) if reached else 0.0
        off = 100 * abs(found.summary.noise_rate - len(wrong) / len(rows))
        name = f"NEU, {share} % of the labels flipped"
        claims += [
            Claim(
                f"{name}: error of the noise rate",
                round(off, 2),
                "points",
                "none",
                None,
                3.0,
                larger_is_better=False,
            ),
            Claim(
                f"{name}: precision of suspects at recall 0.9",
                round(precision, 4),
                "",
                "none",
                None,
                0.9,
            ),
        ]
    return claims


def epoch_cpu_s(given: argparse.Namespace, method: str) -> float:
    """Return the CPU seconds of the last epochs of a training, the cheapest of them."""
    labels = {each["image"]: each["noisy"] for each in flips(given, 20)}
    rows = steel_rows(given.defects, labels=labels, most=COST_IMAGES)
    marks: list[float] = []

    def mark(_report: EpochReport) -> None:
        marks.append(time.process_time())

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "labels.csv"
        write_manifest(file, [row for row in rows if row.split == "train"])
        noise = {"method": method, "rate": 0.2, "warm_up_epochs": 1, "guess_weight": 25.0}
        values = {
            "task": "classify",
            "data": {"manifest": str(file), "root": str(given.defects / "neu-det/images")},
            "model": {"name": "cost", "backbone": given.backbone},
            "train": {"epochs": max(3, min(given.epochs, 5)), "batch_size": 32},
            "loss": {"name": "cross_entropy"},
            "noise": {} if method == "cross_entropy" else noise,
        }
        config = check_config(ClassifyConfig, values, name="cost")
        train.run(config, Workspace(Path(folder) / "w"), progress=mark)
    return min(late - early for early, late in pairwise(marks))


def cost_claims(given: argparse.Namespace) -> list[Claim]:
    """Measure what an epoch of two networks takes beside a plain one, in CPU time."""
    plain = epoch_cpu_s(given, "cross_entropy")
    claims = []
    for method, most in MOST_COST.items():
        times = epoch_cpu_s(given, method) / plain
        name = f"an epoch of {method} in plain epochs, CPU time, {COST_IMAGES} images"
        claims.append(
            Claim(name, round(times, 2), "", "plain epoch", 1.0, most, larger_is_better=False)
        )
    return claims


def training_claims(tables: dict[str, dict[str, Any]], given: argparse.Namespace) -> list[Claim]:
    """Return a claim a row; graded labels beside hard ones."""
    claims = []
    for name, found in tables.items():
        table, _, method = name.partition(": ")
        about = f"{name}, {given.seeds} seeds, {given.epochs} epochs"
        if table == "elpv":
            hard = tables.get("elpv: hard", {}).get("balanced_accuracy")
            rival = hard if method == "graded" else None
            claims.append(
                Claim(
                    f"elpv, balanced accuracy, {about}",
                    found["balanced_accuracy"],
                    "%",
                    "hard labels",
                    rival,
                    None,
                )
            )
            continue
        share = int(table.removeprefix("sym"))
        claims.append(
            Claim(
                f"NEU, accuracy, {about}",
                found["accuracy"],
                "%",
                "LBP and histograms, RBF SVM",
                RIVALS[share],
                TARGETS[share],
            )
        )
    return claims


def main(arguments: Sequence[str] | None = None) -> None:
    given = parser(__doc__).parse_args(arguments)
    wanted = given.tables or ["suspects", "costs", "sym20", "sym40", "elpv"]
    claims = suspect_claims(given) if "suspects" in wanted else []
    claims += cost_claims(given) if "costs" in wanted else []
    given.tables = [name for name in wanted if name not in ("suspects", "costs")]
    tables = run_table(rows_of(given), given) if given.tables else {}
    write_table("noise", [*claims, *training_claims(tables, given)], tables)


if __name__ == "__main__":
    main()
