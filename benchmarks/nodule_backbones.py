"""A 3D Swin and a convolutional network of equal cost, given the same training from scratch.

Both come from `medvit train train/nodule_phantom` with the same crops and seed, one thread
each and side by side; they differ in `model.backbone` and in epochs: one forward pass costs
both alike (`backbones.py`), but a step of training does not, and the processor time is what
they share. Both search the same trials, and their difference in CPM is drawn over scans.
What the shipped model, trained longer, does on them and more: `nodules.py`.

Trainings and searches that were interrupted go on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
from claims import Claim, write_claims
from nodule_trials import FP_AT, SCANS, figures, matches_of, searched, trial_names

from medvit.metrics.froc import ScanMatches, froc_of

OURS, RIVAL = "swin3d_tiny", "segresnet_small"
ROUNDS = 1000


def train(backbone: str, *, name: str, epochs: int, seed: int, work: Path) -> None:
    """Train one detector, unless it is there, and note the processor time that it took."""
    if (work / "models" / name).is_dir():
        return
    command = [
        *(sys.executable, "-m", "apps.cli", "train", "train/nodule_phantom"),
        *("--workspace", str(work), f"data.root={SCANS}", "train.validate_every=0"),
        *(f"model.backbone={backbone}", f"model.name={name}"),
        *(f"train.epochs={epochs}", f"train.seed={seed}"),
    ]
    log = work / f"{name}.log"
    with log.open("a", encoding="utf-8") as file:
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        running = subprocess.Popen(command, env=one_thread, stdout=file, stderr=file)
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    with (work / "costs.jsonl").open("a", encoding="utf-8") as file:
        row = {"model": name, "processor_s": round(used.ru_utime + used.ru_stime)}
        file.write(json.dumps(row) + "\n")
    if running.returncode:
        sys.exit(f"{name}: the training ended with {running.returncode}, see {log}")


def processor_seconds(work: Path) -> dict[str, int]:
    """Return what each training took, those that were interrupted added up."""
    seconds: dict[str, int] = {}
    for line in (work / "costs.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        seconds[row["model"]] = seconds.get(row["model"], 0) + int(row["processor_s"])
    return seconds


def difference(ours: Sequence[ScanMatches], theirs: Sequence[ScanMatches]) -> dict[str, Any]:
    """Return by how much the CPM differs, and between what over draws of the same scans."""
    rng = np.random.default_rng(0)
    drawn = []
    while len(drawn) < ROUNDS:
        places = rng.integers(len(ours), size=len(ours))
        pair = [froc_of([side[at] for at in places]) for side in (ours, theirs)]
        if pair[0].n_annotations:
            drawn.append(pair[0].cpm - pair[1].cpm)
    drawn.sort()
    return {
        "cpm": froc_of(ours).cpm - froc_of(theirs).cpm,
        "cpm_95": [drawn[floor(0.025 * ROUNDS)], drawn[floor(0.975 * ROUNDS)]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=14, help="of the 3D Swin")
    parser.add_argument("--rival-epochs", type=int, default=29, help="that take as long")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--phantoms", type=int, default=60)
    parser.add_argument("--insertions", type=int, default=40, help="scans, over all hosts")
    parser.add_argument("--work", type=Path, default=Path("medvit-workspace/bench-backbones"))
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    epochs = {OURS: given.epochs, RIVAL: given.rival_epochs}
    names = {each: f"nodule-{each}-{n}-{given.seed}" for each, n in epochs.items()}

    def train_one(each: str) -> None:
        train(each, name=names[each], epochs=epochs[each], seed=given.seed, work=given.work)

    with ThreadPoolExecutor(given.workers) as pool:
        list(pool.map(train_one, names))
    claims, tables, differences = [], {}, {}
    for title, scans in trial_names(phantoms=given.phantoms, insertions=given.insertions).items():
        rows = searched(
            scans,
            [*names.values()],
            given.work / "trials.jsonl",
            workers=given.workers,
            folder=given.work / "models",
        )
        found = {each: figures(rows, name) for each, name in names.items()}
        tables[title] = found
        differences[title] = difference(*(matches_of(rows, name) for name in names.values()))
        for what, value in (
            ("CPM", lambda table: table["cpm"]),
            ("sensitivity at 4 FP a scan", lambda table: table["sensitivity"][FP_AT]),
        ):
            pair = (round(value(found[OURS]), 4), round(value(found[RIVAL]), 4))
            claims.append(Claim(f"{OURS}, {what}, {title}", pair[0], "", RIVAL, pair[1], None))
    write_claims(
        "nodule_backbones",
        claims,
        settings={"epochs": epochs, "seed": given.seed},
        training_processor_s=processor_seconds(given.work),
        tables=tables,
        difference=differences,
    )


if __name__ == "__main__":
    main()
