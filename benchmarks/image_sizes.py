"""Is a model as good at 12/7 of its image size, as 384 px are of 224? The test images of X-SDD.

A model is judged at the side of its card and at 12/7 of it, nothing learns between. An image is
made larger in two ways: mirrored at its borders, so that positions alone are new to the network,
and enlarged, so that the scale of all it shows is new as well.

    python benchmarks/image_sizes.py                                              # the shipped one
    medvit train train/classify_defects model.weights=vit-defects-simclr
    python benchmarks/image_sizes.py --model medvit-workspace/models/steel-vit/1  # a ViT
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from claims import RESULTS, Claim, write_claims
from numpy.typing import NDArray
from ood import DATA, MODEL, XSDD

from medvit.data.manifest import read_manifest
from medvit.data.surface import load_images
from medvit.learn.classify import predict_logits
from medvit.metrics.classification import score_classification
from medvit.models.card import ModelCard
from medvit.models.heads.classify import DefectClassifier
from medvit.models.weights import load_model

LARGER = 12 / 7
STRIDE_PX = 8
ONE_POINT = 1.0


def main() -> None:
    """Judge a model at both sizes, and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=MODEL, help="folder of a version")
    given = parser.parse_args()
    net, card = load_model(given.model)
    assert isinstance(net, DefectClassifier)
    side = int(card.preprocessing["side_px"])
    larger = STRIDE_PX * round(side * LARGER / STRIDE_PX)
    file = RESULTS / "image_sizes.json"
    runs = json.loads(file.read_text(encoding="utf-8"))["runs"] if file.is_file() else {}
    rows = read_manifest(XSDD).of("test")
    paths, truth = [row.path for row in rows], [row.label for row in rows]
    images = load_images(DATA / "x-sdd/images", paths, side_px=side, channels="grey")
    around = ((0, 0), *2 * [2 * [(larger - side) // 2]])
    sized = {
        "own": images,
        "mirrored": np.pad(images, around, mode="reflect"),
        "enlarged": load_images(DATA / "x-sdd/images", paths, side_px=larger, channels="grey"),
    }
    runs[card.reference] = {name: judged(net, card, each, truth) for name, each in sized.items()}
    claims = [claim for each in runs.items() for claim in claims_of(*each)]
    write_claims("image_sizes", claims, runs=runs)


def judged(
    net: DefectClassifier, card: ModelCard, images: NDArray[np.uint8], truth: list[str]
) -> dict[str, Any]:
    """Return the figures of images (n, side, side)."""
    guess = [card.classes[each] for each in predict_logits(net, images).argmax(dim=1).tolist()]
    told = score_classification(truth, guess, classes=card.classes)
    figures = {key: round(100 * float(told[key]), 2) for key in ("accuracy", "macro_f1")}
    return {"side_px": images.shape[1], "images": len(images), **figures}


def claims_of(model: str, run: dict[str, dict[str, Any]]) -> Iterator[Claim]:
    """Yield the accuracy of larger images beside that of images of the model's own size."""
    own = run["own"]
    for way in ("mirrored", "enlarged"):
        larger = run[way]
        yield Claim(
            f"{model}, X-SDD, {own['images']} images {way} to {larger['side_px']} px",
            larger["accuracy"],
            "%",
            f"the same network at {own['side_px']} px",
            own["accuracy"],
            round(own["accuracy"] - ONE_POINT, 2),
        )


if __name__ == "__main__":
    main()
