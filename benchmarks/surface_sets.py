"""The surface images that tables are made of, in folds whose groups stay whole."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy

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


@dataclass(frozen=True, slots=True)
class _Listing:
    """What a list beside the images says; `folds` None: groups are dealt by hash of their names."""

    root: Path
    paths: list[str]
    names: list[str]
    groups: list[str]
    figure: str
    folds: list[int] | None = None
    draws: dict[str, list[int]] = field(default_factory=dict)


def read_set(name: str, defects: Path, *, side_px: int) -> SurfaceSet:
    """Read `neu`, `xsdd` or `elpv` from the folder that holds all of them."""
    listed = {"neu": _list_neu, "xsdd": _list_xsdd, "elpv": _list_elpv}[name](defects)
    classes = tuple(sorted({*listed.names}))
    labels = np.array([classes.index(each) for each in listed.names])
    dealt = deal_groups(listed.groups, labels) if listed.folds is None else np.array(listed.folds)
    return SurfaceSet(
        name=name,
        root=listed.root,
        paths=listed.paths,
        images=load_grey_images(listed.root, listed.paths, side_px=side_px),
        labels=from_numpy(labels),
        classes=classes,
        groups=listed.groups,
        folds=dealt,
        draws=listed.draws,
        figure=listed.figure,
    )


def _list_neu(defects: Path) -> _Listing:
    """List NEU with the folds that are given; fold 0 is dev_val."""
    folder = defects / "neu-det"
    rows = _rows(folder / "neu-det-dev.csv")
    return _Listing(
        folder / "images",
        paths=[f"{row['image']}.jpg" for row in rows],
        names=[row["class"] for row in rows],
        groups=[row["group"] for row in rows],
        figure="accuracy",
        folds=[int(row["fold"]) for row in rows],
        draws=_draws(folder / "splits/fewshot.json", [row["image"] for row in rows]),
    )


def _list_xsdd(defects: Path) -> _Listing:
    folder = defects / "x-sdd"
    rows = _rows(folder / "x-sdd-dev.csv")
    paths = [row["image"] for row in rows]
    return _Listing(
        folder / "images",
        paths=paths,
        names=[row["class"] for row in rows],
        groups=[row["group"] for row in rows],
        figure="macro_f1",
        draws=_draws(folder / "fewshot.json", paths),
    )


def _list_elpv(defects: Path) -> _Listing:
    """List solar cells: defective from a probability of 1/2 on, groups are runs of cells."""
    folder = defects / "elpv"
    rows = _rows(folder / "elpv-dev.csv")
    return _Listing(
        folder / "images",
        paths=[row["image"] for row in rows],
        names=["functional" if float(row["prob"]) < 0.5 else "defective" for row in rows],
        groups=[f"{row['type']} {row['run']}" for row in rows],
        figure="balanced_accuracy",
    )


def _draws(file: Path, names: Sequence[str]) -> dict[str, list[int]]:
    place = {name: index for index, name in enumerate(names)}
    given = json.loads(file.read_text(encoding="utf-8"))
    return {key: [place[name] for name in chosen] for key, chosen in given.items()}


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
