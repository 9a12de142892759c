"""Does a model tell images of another world from its own? X-SDD against NEU and solar cells.

    python benchmarks/ood.py            # measure
    python benchmarks/ood.py --write    # first learn the shipped model's statistics anew
    python benchmarks/ood.py --model medvit-workspace/models/few-defects/1   # another one

Statistics come from the 660 training images of X-SDD, the limit from its 156 images of val; the
203 of test are what should pass. Nothing of NEU or elpv leaves its folder. Which features count is
decided without them: each class of X-SDD is left out in turn, and its images of train and val are
told from those of val, by all features and by those that count.
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
from medvit.trust.typicality import Floats, Indices

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
    if card.architecture.arguments.get("extras"):  # not where the network was trained on the class
        run["class_left_out"] = left_out(net, manifest)
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


def left_out(net: DefectClassifier, manifest: Manifest) -> dict[str, float]:
    """Return the mean AUROC of images of a class that was left out, by the features that count."""
    root, names = DATA / "x-sdd" / "images", sorted({row.label for row in manifest.of("train")})
    seen = {part: features_of(net, root, paths_of(manifest, part)) for part in ("train", "val")}
    labels = {
        part: np.array([names.index(row.label) for row in manifest.of(part)]) for part in seen
    }

    def auroc(left: int, columns: Indices | None) -> float:
        known = {part: seen[part][labels[part] != left] for part in seen}
        kept = labels["train"][labels["train"] != left]
        looks = KnownLooks.of(known["train"], kept, known["val"], columns)
        unlike = np.concatenate([seen[part][labels[part] == left] for part in seen])
        return share(looks.ood(unlike)[:, None] > looks.ood(known["val"]))

    ways = {"all": None, "chosen": net.backbone.surface_channels}
    each = {
        way: [auroc(left, columns) for left in range(len(names))] for way, columns in ways.items()
    }
    return {way: round(float(np.mean(found)), 3) for way, found in each.items()}


def share(is_so: NDArray[np.bool_]) -> float:
    """Return the share that is so."""
    return round(float(is_so.mean()), 3)


def claims_of(model: str, run: dict[str, Any]) -> Iterator[Claim]:
    """Yield what is claimed of a model."""
    about = f"{model}, {run['features']} features: "
    known, apart = run["known_flagged"], run.get("class_left_out")
    if apart is not None:
        what, beside = f"{about}auroc of a class left out", "all features"
        yield Claim(what, apart["chosen"], "area", beside, apart["all"], None)
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
    held_out = features_of(net, root, paths_of(manifest, "val"))
    looks = KnownLooks.of(learnt, labels, held_out, net.backbone.surface_channels)
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
