"""The surface images that tables are made of, in folds whose groups stay whole."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, tensor

from medvit.data.surface import load_grey_images
from medvit.learn.noise.cross_validation import deal_groups


@dataclass(frozen=True, slots=True)
class SurfaceSet:
    """Labelled images of one kind.

    Attributes:
        name: Short, as in names of models.
        root: Folder that `paths` start from.
        paths: Of all images.
        images: Grey (n, side, side), uint8.
        labels: Class indices (n,).
        classes: Names, in the order of the indices.
        groups: What each image was cut from or stands beside.
        folds: Fold (n,) of each image; a group lies in one.
        draws: Places of the given supports, by `K-shot/seedS`; empty where none are given.
        figure: What it is judged by, a key of `score_classification`.
    """

    name: str
    root: Path
    paths: list[str]
    images: NDArray[np.uint8]
    labels: Tensor
    classes: tuple[str, ...]
    groups: list[str]
    folds: NDArray[np.intp]
    draws: dict[str, list[int]]
    figure: str

    def learnt_from(self, fold: int) -> list[int]:
        """Return the places of the other folds."""
        found: list[int] = np.flatnonzero(self.folds != fold).tolist()
        return found

    def asked_for(self, fold: int, support: Sequence[int]) -> list[int]:
        """Return the places of a fold whose groups a support has no image of."""
        taken = {self.groups[place] for place in support}
        own: list[int] = np.flatnonzero(self.folds == fold).tolist()
        return [place for place in own if self.groups[place] not in taken]


def read_set(name: str, defects: Path, *, side_px: int) -> SurfaceSet:
    """Read `neu`, `xsdd` or `elpv` from the folder that holds all of them."""
    return {"neu": _read_neu, "xsdd": _read_xsdd, "elpv": _read_elpv}[name](defects, side_px)


def _read_neu(defects: Path, side_px: int) -> SurfaceSet:
    """Read NEU with the folds of its list; fold 0 is dev_val."""
    folder = defects / "neu-det"
    rows = _rows(folder / "neu-det-dev.csv")
    paths = [f"{row['image']}.jpg" for row in rows]
    labels, classes = _indexed([row["class"] for row in rows])
    return SurfaceSet(
        name="neu",
        root=folder / "images",
        paths=paths,
        images=load_grey_images(folder / "images", paths, side_px=side_px),
        labels=labels,
        classes=classes,
        groups=[row["group"] for row in rows],
        folds=np.array([int(row["fold"]) for row in rows]),
        draws=_draws(folder / "splits/fewshot.json", [row["image"] for row in rows]),
        figure="accuracy",
    )


def _read_xsdd(defects: Path, side_px: int) -> SurfaceSet:
    """Read X-SDD; groups are dealt to five folds by the hash of their names."""
    folder = defects / "x-sdd"
    rows = _rows(folder / "x-sdd-dev.csv")
    paths, groups = [row["image"] for row in rows], [row["group"] for row in rows]
    labels, classes = _indexed([row["class"] for row in rows])
    return SurfaceSet(
        name="xsdd",
        root=folder / "images",
        paths=paths,
        images=load_grey_images(folder / "images", paths, side_px=side_px),
        labels=labels,
        classes=classes,
        groups=groups,
        folds=deal_groups(groups, labels.numpy()),
        draws=_draws(folder / "fewshot.json", paths),
        figure="macro_f1",
    )


def _read_elpv(defects: Path, side_px: int) -> SurfaceSet:
    """Read solar cells; defective from a probability of 1/2 on, runs of cells stay whole."""
    folder = defects / "elpv"
    rows = _rows(folder / "elpv-dev.csv")
    paths, groups = [row["image"] for row in rows], [f"{r['type']} {r['run']}" for r in rows]
    labels, classes = _indexed(
        ["functional" if float(row["prob"]) < 0.5 else "defective" for row in rows]
    )
    return SurfaceSet(
        name="elpv",
        root=folder / "images",
        paths=paths,
        images=load_grey_images(folder / "images", paths, side_px=side_px),
        labels=labels,
        classes=classes,
        groups=groups,
        folds=deal_groups(groups, labels.numpy()),
        draws={},
        figure="balanced_accuracy",
    )


def _indexed(names: Sequence[str]) -> tuple[Tensor, tuple[str, ...]]:
    classes = tuple(sorted({*names}))
    return tensor([classes.index(name) for name in names]), classes


def _draws(file: Path, names: Sequence[str]) -> dict[str, list[int]]:
    place = {name: index for index, name in enumerate(names)}
    given = json.loads(file.read_text(encoding="utf-8"))
    return {key: [place[name] for name in chosen] for key, chosen in given.items()}


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
