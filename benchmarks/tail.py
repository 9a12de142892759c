"""Long tails: NEU at 10:1, 20:1 and 50:1, alone and with a fifth of the labels wrong.

`python benchmarks/tail.py --seeds 3 --epochs 40`; a table that was stopped goes on. One row:
`--tables tail20 --methods cross_entropy --seeds 1 --epochs 1 --images 60`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from claims import Claim
from steel_rows import FROZEN_METHODS, Row, parser, right_labels, run_table, steel_rows, write_table

from medvit.data.corruption import flip_symmetric

RATIOS = (10, 20, 50)
TARGETS = {10: 98.0, 20: 97.0, 50: 96.0}
# Data README: LBP with grey and gradient histograms, RBF SVM, on the same lists.
RIVALS = {10: 90.8, 20: 87.8, 50: 72.7}
CE = {"name": "cross_entropy"}
TAIL_METHODS: dict[str, dict[str, Any]] = {
    "cross_entropy": {},
    "class_balanced": {"loss": {"name": "class_balanced"}},
    "balanced_sampler": {"sampler": {"name": "balanced"}},
    "ldam_drw": {"loss": {"name": "ldam_drw"}},
    "logit_adjustment": {"loss": {"name": "logit_adjustment"}},
    "post_hoc": {"loss": {**CE, "post_hoc_tau": 1.0}},
    "decoupled": {"decoupled": {"epochs": 10}},
    **FROZEN_METHODS,
}
ADJUSTED = {"loss": {"name": "logit_adjustment"}}
BOTH_METHODS: dict[str, dict[str, Any]] = {
    "cross_entropy": {},
    "logit_adjustment": ADJUSTED,
    "co_teaching": {"noise": {"method": "co_teaching"}},
    "co_teaching+logit_adjustment": {**ADJUSTED, "noise": {"method": "co_teaching"}},
    "dividemix": {"noise": {"method": "dividemix"}},
    "dividemix+logit_adjustment": {**ADJUSTED, "noise": {"method": "dividemix"}},
    "prune+logit_adjustment": {**ADJUSTED, "noise": {"method": "prune"}},
    **{
        f"prune, {name}": {**own, "noise": {"method": "prune"}}
        for name, own in FROZEN_METHODS.items()
    },
}


def tail_labels(given: argparse.Namespace, ratio: int) -> dict[str, str]:
    """Return the images of a list with their classes."""
    file = given.defects / f"neu-det/splits/longtail_if{ratio}.txt"
    return right_labels(given.defects, file.read_text(encoding="utf-8").split())


def with_noise(labels: dict[str, str], *, share: float) -> dict[str, str]:
    """Return labels of which a share became another class, the same for each run."""
    classes = sorted({*labels.values()})
    places = np.array([classes.index(label) for label in labels.values()], dtype=np.intp)
    flipped = flip_symmetric(places, classes=len(classes), share=share, seed=0)
    return {name: classes[place] for name, place in zip(labels, flipped, strict=True)}


def rows_of(given: argparse.Namespace) -> list[Row]:
    """Return all trainings of the table."""
    root = given.defects / "neu-det/images"
    rows = []
    for ratio in RATIOS:
        images = steel_rows(given.defects, labels=tail_labels(given, ratio), most=given.images)
        for method, changes in TAIL_METHODS.items():
            rows.append(Row(f"tail{ratio}", method, images, root, changes))
    noisy = with_noise(tail_labels(given, 20), share=0.2)
    images = steel_rows(given.defects, labels=noisy, most=given.images)
    rows += [Row("tail20-sym20", name, images, root, own) for name, own in BOTH_METHODS.items()]
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    given = parser(__doc__).parse_args(arguments)
    tables = run_table(rows_of(given), given)
    claims = []
    for name, found in tables.items():
        table = name.partition(":")[0]
        ratio = int(table.removeprefix("tail").partition("-")[0])
        alone = "-" not in table
        claims.append(
            Claim(
                f"NEU, balanced accuracy, {name}, {given.seeds} seeds, {given.epochs} epochs",
                found["balanced_accuracy"],
                "%",
                "LBP and histograms, RBF SVM" if alone else "none",
                RIVALS[ratio] if alone else None,
                TARGETS[ratio] if alone else None,
            )
        )
    write_table("tail", claims, tables)


if __name__ == "__main__":
    main()
