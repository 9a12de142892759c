"""Steel defects of X-SDD, group-aware split: the shipped model beside LBP features and RBF.

The rival is measured here, in the same run and on the same images: uniform local
binary patterns, grey and gradient histograms, and a kernel ridge classifier with an
RBF kernel (a least-squares SVM); its two settings are chosen on split val.
`--compare NAME` adds registered models, such as one trained from random weights.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.feature import local_binary_pattern

from medvit.data.labelled import LabelledImages, load_labelled
from medvit.data.manifest import read_manifest
from medvit.learn.classify import predict_logits
from medvit.metrics.classification import score_classification
from medvit.models.weights import load_model
from medvit.registry.registry import find_model

PROJECT = Path(__file__).resolve().parents[1]
MANIFEST = PROJECT / "configs/splits/xsdd.csv"
RESULT = PROJECT / "benchmarks/results/defects.json"
# Data README: LBP + grey and gradient histograms, RBF SVM, group-disjoint, in percent.
PUBLISHED = {"accuracy": 95.3, "balanced_accuracy": 92.7}
FIGURES = ("accuracy", "balanced_accuracy", "macro_f1")
RADII = ((8, 1), (8, 2), (16, 3))
GAMMAS = (0.1, 0.3, 1.0, 3.0)
RIDGES = (1e-3, 1e-2, 1e-1)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class KernelClassifier:
    """Kernel ridge regression onto one column a class."""

    support: Floats
    weights: Floats
    gamma: float

    def predict(self, features: Floats) -> NDArray[np.int64]:
        """Return the class of each row of features."""
        kernel = rbf(features, self.support, gamma=self.gamma)
        guess: NDArray[np.int64] = (kernel @ self.weights).argmax(axis=1)
        return guess


def describe(image: NDArray[np.uint8]) -> Floats:
    """Return LBP, grey and gradient histograms of a grey image."""
    parts = []
    for points, radius in RADII:
        codes = local_binary_pattern(  # type: ignore[no-untyped-call]
            image, points, radius, method="uniform"
        )
        parts.append(np.bincount(codes.astype(int).ravel(), minlength=points + 2) / codes.size)
    grey = image.astype(np.float64)
    slope = np.hypot(*np.gradient(grey))
    for values, top in ((grey, 256), (slope, 64)):
        parts.append(np.histogram(values, bins=16, range=(0, top))[0] / grey.size)
    found: Floats = np.sqrt(np.concatenate(parts))
    return found


def rbf(first: Floats, second: Floats, *, gamma: float) -> Floats:
    """Return the kernel matrix of two sets of features."""
    squares = (first**2).sum(1)[:, None] + (second**2).sum(1) - 2 * first @ second.T
    kernel: Floats = np.exp(-gamma / first.shape[1] * np.maximum(squares, 0))
    return kernel


def fit_kernel(
    features: Floats, labels: NDArray[np.int64], *, gamma: float, ridge: float
) -> KernelClassifier:
    """Solve for the weights of all classes at once."""
    kernel = rbf(features, features, gamma=gamma) + ridge * np.eye(len(features))
    targets = np.where(labels[:, None] == np.arange(labels.max() + 1), 1.0, -1.0)
    weights: Floats = np.linalg.solve(kernel, targets).astype(np.float64)
    return KernelClassifier(features, weights, gamma)


def rival_predictions(splits: dict[str, LabelledImages]) -> NDArray[np.int64]:
    """Return the rival's labels on split test."""
    raw = {name: np.stack([describe(i) for i in split.images]) for name, split in splits.items()}
    mean, sd = raw["train"].mean(0), raw["train"].std(0) + 1e-9
    features = {name: (values - mean) / sd for name, values in raw.items()}
    labels = splits["train"].labels.numpy()
    truth = splits["val"].labels.numpy()
    tried = [
        fit_kernel(features["train"], labels, gamma=gamma, ridge=ridge)
        for gamma in GAMMAS
        for ridge in RIDGES
    ]
    best = max(tried, key=lambda net: float((net.predict(features["val"]) == truth).mean()))
    return best.predict(features["test"])


def model_predictions(
    reference: str, test: LabelledImages, *, models: Path | None
) -> tuple[str, NDArray[np.int64]]:
    """Return the full name of a registered model and its labels on split test."""
    version = find_model(reference, models=models)
    module, _ = load_model(version.folder)
    return version.reference, predict_logits(module, test.images).argmax(dim=1).numpy()


def claims_of(name: str, scores: dict[str, Any], rival: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one claim a figure, in percent."""
    claims = []
    for figure in FIGURES:
        value, other = 100 * scores[figure], 100 * rival[figure]
        target = PUBLISHED.get(figure, other)
        claims.append(
            {
                "name": f"{name}: X-SDD {figure}, group-aware split, last epoch",
                "value": round(value, 2),
                "unit": "%",
                "rival": "LBP, grey and gradient histograms, RBF kernel ridge",
                "rival_value": round(other, 2),
                "ratio": round(value / other, 4),
                "target": round(target, 2),
                "met": value > target,
            }
        )
    return claims


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="folder of the X-SDD images")
    parser.add_argument("--workspace", type=Path, help="where compared models are registered")
    parser.add_argument("--compare", nargs="*", default=[], metavar="NAME")
    given = parser.parse_args(arguments)
    root = given.root or PROJECT.parent / "shared/data/defects/x-sdd/images"
    models = given.workspace / "models" if given.workspace else None
    manifest = read_manifest(MANIFEST)
    classes = manifest.classes
    splits = {
        name: load_labelled(manifest, name, root=root, side_px=128, classes=classes)
        for name in ("train", "val", "test")
    }
    truth = [classes[index] for index in splits["test"].labels.tolist()]

    def score(guess: NDArray[np.int64]) -> dict[str, Any]:
        return score_classification(truth, [classes[i] for i in guess], classes=classes)

    rival = score(rival_predictions(splits))
    tables, claims = {"rival": rival}, []
    for reference in ["steel-defects", *given.compare]:
        name, guess = model_predictions(reference, splits["test"], models=models)
        tables[name] = score(guess)
        claims += claims_of(name, tables[name], rival)
    answer = {
        "machine": f"{platform.system()} {platform.machine()}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "images": {name: len(split.paths) for name, split in splits.items()},
        "claims": claims,
        "tables": tables,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(answer, indent=2) + "\n", encoding="utf-8")
    for claim in claims:
        sign = "met" if claim["met"] else "not met"
        print(f"{claim['value']:6.2f} {claim['rival_value']:6.2f} {sign:8} {claim['name']}")


if __name__ == "__main__":
    main()
