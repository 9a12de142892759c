"""Whole networks fine-tuned on the folds of `surfaces.py`, from weights that are given.

A fold is asked for and nothing else; one in twelve of the other images calibrates, which moves no
decision. Epochs and rates are fixed beforehand. Folds that are on file are not redone.

    medvit models import efficientnet_lite0
    python benchmarks/fine_tuning.py --set elpv --side 224 --epochs 6
    python benchmarks/fine_tuning.py --set xsdd --folds 0 --epochs 1   # a try
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from claims import RESULTS, Claim, write_claims
from surface_sets import SurfaceSet, read_set
from surfaces import TARGETS, UNITS

from medvit.data.manifest import ManifestRow, write_manifest
from medvit.learn.noise.cross_validation import FOLDS
from medvit.workspace import Workspace
from pipelines import train
from pipelines.classifying.config import ClassifyConfig
from pipelines.config import check_config

PROJECT = Path(__file__).resolve().parents[1]
CALIBRATES = 12
SMALL_PX = 32
"""Sides at which a set is listed; the training reads its images itself."""

RIVALS = {
    "neu": ("LBP, RBF, of surfaces.py", 99.3),
    "xsdd": ("LBP, RBF, of surfaces.py", 94.31),
    "elpv": ("LBP, the best of its ways, of surfaces.py", 58.2),
}


def write_fold(data: SurfaceSet, fold: int, file: Path) -> None:
    """Write a fold as split test; of the others every twelfth image calibrates.

    Each image is a group of its own: which groups stay apart the folds have settled.
    """
    learnt = {place: number for number, place in enumerate(data.learnt_from(fold))}
    rows = [
        ManifestRow(path, data.classes[int(label)], _split(learnt.get(place)), path)
        for place, (path, label) in enumerate(zip(data.paths, data.labels, strict=True))
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    write_manifest(file, rows)


def _split(number: int | None) -> str:
    if number is None:
        return "test"
    return "train" if number % CALIBRATES else "val"


def settings_of(
    given: argparse.Namespace, data: SurfaceSet, manifest: Path, *, fold: int
) -> ClassifyConfig:
    """Return the config of a training."""
    return check_config(
        ClassifyConfig,
        {
            "task": "classify",
            "data": {"manifest": str(manifest), "root": str(data.root), "side_px": given.side},
            "model": {
                "name": f"{recipe_name(given)}-fold{fold}",
                "backbone": given.backbone,
                "weights": given.weights,
            },
            "train": {
                "epochs": given.epochs,
                "lr": given.lr,
                "batch_size": given.batch,
                "seed": given.seed,
                "warmup_epochs": given.epochs / 10,
                "precision": "bf16-mixed",
            },
            "loss": {"name": "logit_adjustment", "label_smoothing": 0.05},
            "tuning": {"method": "layer_decay"},
            "views": {"side_px": given.side, "min_area": 0.7},
        },
        name="fine_tuning",
    )


def recipe_name(given: argparse.Namespace) -> str:
    """Return what tells one way of training from another."""
    words = (given.set, given.weights, f"{given.side}px", f"{given.epochs}e", f"seed{given.seed}")
    return "-".join(("tuned", *words))


def row_of(given: argparse.Namespace, data: SurfaceSet, fold: int) -> dict[str, Any]:
    """Return the figures of a fold; trains where they are not on file."""
    folder = given.workspace / "fine-tuning"
    file = folder / f"{recipe_name(given)}-fold{fold}.json"
    if file.is_file():
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found
    manifest = folder / f"{data.name}-fold{fold}.csv"
    write_fold(data, fold, manifest)
    config = settings_of(given, data, manifest, fold=fold)
    metrics = train.run(config, Workspace(given.workspace))["metrics"]
    kept = ("accuracy", "balanced_accuracy", "macro_f1", "confusion", "n", "epochs", "loss")
    row = {"fold": fold, **{key: metrics[key] for key in kept}}
    file.write_text(json.dumps(row), encoding="utf-8")
    print(f"{recipe_name(given)} fold {fold}: {data.figure} {row[data.figure]:.4f}", flush=True)
    return row


def claim_of(recipe: str, run: dict[str, Any]) -> Claim:
    """Return mean and spread over the folds."""
    figures = [100 * row[run["figure"]] for row in run["rows"]]
    folds = ", ".join(
        f"{row['fold']}: {value:.1f}" for row, value in zip(run["rows"], figures, strict=True)
    )
    what = f"{run['set'].upper()}, all labels, {recipe}; folds {folds} (sd {np.std(figures):.1f})"
    mean, unit = round(float(np.mean(figures)), 2), UNITS[run["figure"]]
    return Claim(what, mean, unit, *RIVALS[run["set"]], TARGETS[run["set"]][0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", default="elpv", choices=sorted(TARGETS))
    parser.add_argument("--folds", type=int, nargs="+", default=[*range(FOLDS)])
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--weights", default="imagenet-lite0")
    parser.add_argument("--side", type=int, default=224, help="of an image, in pixels")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--defects", type=Path, default=PROJECT.parent / "shared/data/defects")
    parser.add_argument("--workspace", type=Path, default=PROJECT / "medvit-workspace")
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    data = read_set(given.set, given.defects, side_px=SMALL_PX)
    rows = [row_of(given, data, fold) for fold in given.folds]
    file = RESULTS / "fine_tuning.json"
    runs = json.loads(file.read_text(encoding="utf-8"))["runs"] if file.is_file() else {}
    runs[recipe_name(given)] = {"set": given.set, "figure": data.figure, "rows": rows}
    write_claims("fine_tuning", [claim_of(*each) for each in runs.items()], runs=runs)


if __name__ == "__main__":
    main()
