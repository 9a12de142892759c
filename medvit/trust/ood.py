"""Is an image like those a model was trained on? The statistics that travel with a model.

`typical.safetensors` beside the weights holds what features of training images look like, the
scores of held-out images that set the limit, and features of these images, which drift is
measured against. The card names the file and its hash.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from medvit.errors import ModelError
from medvit.models.card import LOOKS_FILE, ModelCard, file_sha256
from medvit.trust.reduction import Reduction
from medvit.trust.typicality import Floats, Indices, Typicality, typical_from

LEAST_HELD_OUT = 20
"""Fewer cannot tell one image in twenty."""


@dataclass(frozen=True, slots=True, eq=False)
class KnownLooks:
    """What a model knows, and from where on an image is unlike it.

    Attributes:
        typicality: Learnt from features of training images.
        held_out: (n,) scores of held-out images, ascending.
        reference: (n, d) features of held-out images.
        reduction: What features go through first, where they are many.
        columns: Of the features that count; None for all.
    """

    typicality: Typicality
    held_out: Floats
    reference: Floats
    reduction: Reduction | None = None
    columns: Indices | None = None

    @classmethod
    def of(
        cls, features: Floats, labels: Indices, held_out: Floats, columns: Indices | None = None
    ) -> KnownLooks:
        """Learn from features of training images; held-out ones set the limit.

        Args:
            features: (m, d).
            labels: (m,), numbers of classes; a class without an image is left out.
            held_out: (n, d), at least 20, from images that nothing was learnt from.
            columns: Of the features that count; None for all.

        Raises:
            ValueError: If there are too few held-out images, or a feature is not finite.
        """
        _, shown = np.unique(labels, return_inverse=True)
        counted = _counted(features, columns)
        reduction = Reduction.of(counted)
        typicality = Typicality.of(_along(counted, reduction), shown)
        scores = np.sort(_scores(typicality, _counted(held_out, columns), reduction))
        typical_from(scores)  # refuses too few
        return cls(typicality, scores, held_out.astype(np.float64), reduction, columns)

    @property
    def limit(self) -> float:
        """The score from which images are typical; 95 % of held-out ones reach it."""
        return typical_from(self.held_out)

    def ood(self, features: Floats) -> Floats:
        """Return how far images are beyond the limit, (n,); above 0 they are unlike.

        The difference of two squared Mahalanobis distances, so its size has no upper end.

        Raises:
            ValueError: If a feature is not finite.
        """
        counted = _counted(features, self.columns)
        found: Floats = self.limit - _scores(self.typicality, counted, self.reduction)
        return found

    def grown(self, features: Floats, labels: Indices) -> KnownLooks:
        """Return the same with further classes known by their means alone.

        Args:
            features: (m, d), by the same network.
            labels: (m,), numbers of the further classes.
        """
        seen = _along(_counted(features, self.columns), self.reduction)
        more = [seen[labels == number].mean(axis=0) for number in np.unique(labels)]
        own = replace(self.typicality, means=np.stack([*self.typicality.means, *more]))
        counted = _counted(self.reference, self.columns)
        held_out = np.sort(_scores(own, counted, self.reduction))
        return replace(self, typicality=own, held_out=held_out)

    def to_bytes(self) -> bytes:
        """Return the content of `typical.safetensors`."""
        own, reduction = self.typicality, self.reduction
        reduced: dict[str, NDArray[Any]] = {}
        if reduction is not None:
            reduced = {
                "offset": reduction.mean.astype(np.float32),
                "directions": reduction.directions.astype(np.float32),
                "beside": np.array(reduction.beside),
            }
        if self.columns is not None:
            reduced["columns"] = self.columns.astype(np.int64)
        return save(
            {
                **reduced,
                "means": own.means,
                "mean": own.mean,
                "within": np.ascontiguousarray(own.within),
                "overall": np.ascontiguousarray(own.overall),
                "held_out": self.held_out,
                "reference": self.reference.astype(np.float32),
            }
        )

    def card_entry(self, content: bytes) -> dict[str, Any]:
        """Return what a card says of the file with this content."""
        return {
            "file": LOOKS_FILE,
            "sha256": hashlib.sha256(content).hexdigest(),
            "score": "relative_mahalanobis",
            "limit": self.limit,
            "held_out": len(self.held_out),
        }


def _counted(features: Floats, columns: Indices | None) -> Floats:
    return features if columns is None else features[:, columns]


def _along(features: Floats, reduction: Reduction | None) -> Floats:
    return features if reduction is None else reduction.split(features)[0]


def _scores(typicality: Typicality, features: Floats, reduction: Reduction | None) -> Floats:
    if reduction is None:
        return typicality.scores(features)
    along, beside = reduction.split(features)
    return typicality.scores(along) - beside


def _read_reduction(held: dict[str, Floats]) -> Reduction | None:
    if "directions" not in held:
        return None
    wide = {name: held[name].astype(np.float64) for name in ("offset", "directions")}
    return Reduction(wide["offset"], wide["directions"], float(held["beside"]))


def read_looks(folder: Path, card: ModelCard) -> KnownLooks | None:
    """Return the statistics of a model; None when its card names none.

    Raises:
        ModelError: If the file is missing, altered or damaged.
    """
    if not card.ood:
        return None
    path = folder / LOOKS_FILE
    if not path.is_file():
        msg = f"{path}: the statistics of {card.reference} are missing"
        raise ModelError(msg, hint="restore the file or register the model anew")
    found, wanted = file_sha256(path), str(card.ood.get("sha256", ""))
    if found != wanted:
        msg = f"{path}: sha256 {found[:12]} is not the card's {wanted[:12]}"
        raise ModelError(msg, hint="the file was altered; restore or register it anew")
    try:
        held = load(path.read_bytes())
        typicality = Typicality(held["means"], held["mean"], held["within"], held["overall"])
        reference = held["reference"].astype(np.float64)
        reduction, columns = _read_reduction(held), held.get("columns")
        return KnownLooks(typicality, held["held_out"], reference, reduction, columns)
    except (SafetensorError, KeyError) as error:
        msg = f"{path}: not a whole file of statistics ({error})"
        raise ModelError(msg) from error
