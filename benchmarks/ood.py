"""Does a model tell images of another world from its own? X-SDD against NEU and solar cells.

    python benchmarks/ood.py            # measure
    python benchmarks/ood.py --write    # first learn the shipped model's statistics anew
    python benchmarks/ood.py --model medvit-workspace/models/few-defects/1   # another one

Statistics come from the 660 training images of X-SDD, the limit from its 156 images of val; the
203 of test are what should pass. Nothing of NEU or elpv leaves its folder.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from claims import RESULTS, Claim, write_claims
from numpy.typing import NDArray

from medvit import atomic
from medvit.data.manifest import Manifest, read_manifest
from medvit.data.surface import load_images
from medvit.learn.classify import predict_features
from medvit.models.card import CARD_FILE, LOOKS_FILE, read_card
from medvit.models.heads.classify import DefectClassifier
from medvit.models.weights import load_model
from medvit.registry.registry import SHIPPED
from medvit.resources import configs_folder
from medvit.trust.ood import KnownLooks, read_looks
from medvit.trust.typicality import Floats

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "defects"
MODEL = SHIPPED / "steel-defects"
XSDD = configs_folder() / "splits" / "xsdd.csv"
EVERY_CELL = 7
"""Of the 1964 solar cells, one in seven is looked at."""


def main() -> None:
    """Measure, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="learn the shipped model's anew")
    parser.add_argument("--model", type=Path, default=MODEL, help="folder of a version")
    given = parser.parse_args()
    net, card = load_model(given.model)
    assert isinstance(net, DefectClassifier)
    manifest = read_manifest(XSDD)
    if given.write:
        write_looks(net, manifest)
    looks = read_looks(given.model, read_card(given.model))
    assert looks is not None
    known = looks.ood(features_of(net, DATA / "x-sdd" / "images", paths_of(manifest, "test")))
    run: dict[str, Any] = {"features": int(looks.reference.shape[1])}
    run |= {"images": {"x-sdd test": len(known)}, "known_flagged": share(known > 0)}
    for name, features in strangers(net).items():
        scores = looks.ood(features)
        run["images"][name] = len(scores)
        run[f"auroc_{name}"] = share(scores[:, None] > known)
        run[f"flagged_{name}"] = share(scores > 0)
    file = RESULTS / "ood.json"
    runs = json.loads(file.read_text(encoding="utf-8")).get("runs", {}) if file.is_file() else {}
    runs[card.name] = run
    write_claims("ood", [claim for each in runs.items() for claim in claims_of(*each)], runs=runs)


def share(is_so: NDArray[np.bool_]) -> float:
    """Return the share that is so."""
    return round(float(is_so.mean()), 3)


def claims_of(model: str, run: dict[str, Any]) -> Iterator[Claim]:
    """Yield what is claimed of a model."""
    about = f"{model}, {run['features']} features: "
    known = run["known_flagged"]
    yield Claim(f"{about}known_flagged", known, "share", "", None, 0.08, larger_is_better=False)
    for name in ("neu", "solar_cells"):
        yield Claim(f"{about}auroc_{name}", run[f"auroc_{name}"], "area", "", None, 0.9)
        yield Claim(f"{about}flagged_{name}", run[f"flagged_{name}"], "share", "", None, None)


def write_looks(net: DefectClassifier, manifest: Manifest) -> None:
    """Learn the statistics of the shipped model, and name them in its card."""
    root = DATA / "x-sdd" / "images"
    names = sorted({row.label for row in manifest.of("train")})
    labels = np.array([names.index(row.label) for row in manifest.of("train")])
    learnt = features_of(net, root, paths_of(manifest, "train"))
    looks = KnownLooks.of(learnt, labels, features_of(net, root, paths_of(manifest, "val")))
    content = looks.to_bytes()
    atomic.write_bytes(MODEL / LOOKS_FILE, content)
    card = json.loads((MODEL / CARD_FILE).read_text(encoding="utf-8"))
    card["ood"] = looks.card_entry(content)
    atomic.write_text(MODEL / CARD_FILE, json.dumps(card, indent=2) + "\n")


def strangers(net: DefectClassifier) -> dict[str, Floats]:
    """Return features of images of other surfaces."""
    with (DATA / "neu-det" / "neu-det-dev.csv").open(encoding="utf-8") as stream:
        steel = [f"{row['image']}.jpg" for row in csv.DictReader(stream)]
    with (DATA / "elpv" / "elpv-dev.csv").open(encoding="utf-8") as stream:
        cells = [row["image"] for row in csv.DictReader(stream)][::EVERY_CELL]
    folder = DATA / "elpv"
    folder = folder if (folder / cells[0]).is_file() else folder / "images"
    return {
        "neu": features_of(net, DATA / "neu-det" / "images", steel),
        "solar_cells": features_of(net, folder, cells),
    }


def paths_of(manifest: Manifest, split: str) -> list[str]:
    """Return the images of a split."""
    return [row.path for row in manifest.of(split)]


def features_of(net: DefectClassifier, root: Path, paths: list[str]) -> Floats:
    """Return what the head reads of images."""
    images = load_images(root, paths, side_px=128, channels="grey")
    found: Floats = predict_features(net, images).double().numpy()
    return found


if __name__ == "__main__":
    main()
