"""How many labels does active choice save? X-SDD and NEU, three seeds, against random choice.

    python benchmarks/active.py

A linear head on frozen features is fitted anew after every ten labels; the accuracy is that on
images of groups that the pool has none of. X-SDD is measured twice: on features of the shipped
network, which has learnt the very labels of this pool, and on texture features (local binary
patterns), which have learnt nothing. Nothing of NEU leaves its folder.
"""

from __future__ import annotations

import csv
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from claims import Claim, write_claims
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from medvit.data.manifest import read_manifest
from medvit.data.surface import load_images
from medvit.data.texture import texture_features
from medvit.learn.active.choice import Floats, Pool, choose
from medvit.learn.classify import predict_features
from medvit.models.heads.classify import DefectClassifier
from medvit.models.weights import load_model
from medvit.registry.registry import SHIPPED
from medvit.resources import configs_folder

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "defects"
BATCH = 10
STEPS = 20
SEEDS = 3
MOST_LABELS = 0.6
"""Of those that random choice takes to the same accuracy."""

Names = NDArray[np.str_]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Images to label, and images to be right about.

    Attributes:
        pool: (n, d) features.
        labels: (n,) what a reader would say.
        asked: (m, d) features of the test.
        truth: (m,)
    """

    name: str
    pool: Floats
    labels: Names
    asked: Floats
    truth: Names


def tasks() -> Iterator[Task]:
    """Yield X-SDD on two kinds of features, and NEU."""
    net, _ = load_model(SHIPPED / "steel-defects")
    assert isinstance(net, DefectClassifier)
    manifest = read_manifest(configs_folder() / "splits" / "xsdd.csv")
    parts = {}
    for split in ("train", "test"):
        rows = manifest.of(split)
        images = load_images(
            DATA / "x-sdd" / "images", [row.path for row in rows], side_px=128, channels="grey"
        )
        parts[split] = (images, np.array([row.label for row in rows]))
    (train, labels), (test, truth) = parts["train"], parts["test"]
    yield Task("xsdd_texture", textures(train), labels, textures(test), truth)
    yield Task("xsdd_network", embed(net, train), labels, embed(net, test), truth)
    with (DATA / "neu-det" / "neu-det-dev.csv").open(encoding="utf-8") as stream:
        rows_of_neu = list(csv.DictReader(stream))
    paths = [f"{row['image']}.jpg" for row in rows_of_neu]
    images = load_images(DATA / "neu-det" / "images", paths, side_px=128, channels="grey")
    features = embed(net, images)
    names = np.array([row["class"] for row in rows_of_neu])
    held = np.array([row["fold"] == "0" for row in rows_of_neu])
    yield Task("neu_network", features[~held], names[~held], features[held], names[held])


def embed(net: DefectClassifier, images: NDArray[np.uint8]) -> Floats:
    """Return what the head of the shipped network reads."""
    found: Floats = predict_features(net, images).double().numpy()
    return found


def textures(images: NDArray[np.uint8]) -> Floats:
    """Return features that no label had a part in."""
    return np.stack([texture_features(image) for image in images])


def curve(task: Task, how: str, *, seed: int) -> list[float]:
    """Return the accuracy after every ten labels."""
    rng = np.random.default_rng(seed)
    middle, spread = task.pool.mean(axis=0), task.pool.std(axis=0) + 1e-9
    pool, asked = (task.pool - middle) / spread, (task.asked - middle) / spread
    known = np.zeros(len(pool), dtype=bool)
    known[rng.integers(len(pool))] = True
    doubt = np.ones(len(pool))
    found = []
    for _ in range(STEPS):
        count = BATCH - int(known.sum()) % BATCH
        known[chosen(task, known, doubt, how=how, count=count, rng=rng)] = True
        head = LogisticRegression(max_iter=300).fit(pool[known], task.labels[known])
        found.append(float((head.predict(asked) == task.truth).mean()))
        shares = np.sort(head.predict_proba(pool), axis=1)
        doubt = 1 - (shares[:, -1] - shares[:, -2])
    return found


def chosen(
    task: Task,
    known: NDArray[np.bool_],
    doubt: Floats,
    *,
    how: str,
    count: int,
    rng: np.random.Generator,
) -> list[int]:
    """Return the next images to be labelled; a seed decides about the first image."""
    if how == "random":
        picked: list[int] = rng.choice(np.flatnonzero(~known), count, replace=False).tolist()
        return picked
    pool = Pool(task.pool, {"uncertainty": np.clip(doubt, 0, 1)}, asked=known)
    return [each.index for each in choose(pool, count=count)]


def labels_to(level: float, accuracies: list[float]) -> int | None:
    """Return after how many labels an accuracy is reached."""
    steps = (step for step, value in enumerate(accuracies, start=1) if value >= level)
    step = next(steps, None)
    return None if step is None else step * BATCH


def claim_of(name: str, level: float, *, took: int | None, needed: int | None) -> Claim:
    """Return the labels that active choice took to the best accuracy of random choice."""
    value = float(took) if took is not None else float("inf")
    rival, target = float(needed or 0), MOST_LABELS * float(needed or 0)
    unit = f"labels to {level:.3f}"
    return Claim(f"labels_{name}", value, unit, "at random", rival, target, larger_is_better=False)


def main() -> None:
    """Measure, print and write `results/active.json`."""
    warnings.filterwarnings("ignore", module="sklearn")
    logging.captureWarnings(capture=True)
    claims, curves = [], {}
    for task in tasks():
        own = {
            how: [curve(task, how, seed=seed) for seed in range(SEEDS)]
            for how in ("random", "active")
        }
        curves[task.name] = own
        means = {how: np.mean(runs, axis=0).round(4).tolist() for how, runs in own.items()}
        level = max(means["random"])
        needed = labels_to(level, means["random"])
        took = labels_to(level, means["active"])
        claims.append(claim_of(task.name, level, took=took, needed=needed))
    write_claims("active", claims, batch=BATCH, seeds=SEEDS, curves=curves)


if __name__ == "__main__":
    main()
