"""What a challenger learns from: images of a data set version, and the labels that look wrong."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medvit.data.labelled import LabelledImages, load_labelled
from medvit.data.manifest import Manifest, ManifestRow
from medvit.labels.dataset import DatasetVersion

if TYPE_CHECKING:
    from medvit.models.card import ModelCard

NOISE_ASKS = 0.05
"""Lower end of the estimate's interval from which suspects are left out of a training."""

LEAST_TO_ESTIMATE = 50
LEAST_OF_A_CLASS = 5
FOLDS = 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lessons:
    """Labelled images by split; frozen ones are only ever looked at, never learnt from.

    Attributes:
        classes: Old ones in the order of the champion's outputs, then new ones.
        rows: Of the training images, in their order.
        known: Further images of known classes, that set the limits of new ones.
    """

    classes: tuple[str, ...]
    train: LabelledImages
    val: LabelledImages
    frozen: LabelledImages
    rows: tuple[ManifestRow, ...]
    known: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class SuspectLabel:
    """A training label that is likely wrong."""

    path: str
    label: str
    suggested: str
    confidence: float


@dataclass(frozen=True, slots=True)
class NoiseFound:
    """How many labels seem wrong; `rate` is None where there are too few images to say."""

    rate: float | None
    low: float | None
    suspects: tuple[SuspectLabel, ...]


def read_lessons(
    version: DatasetVersion, card: ModelCard, *, new_classes: Sequence[str]
) -> Lessons:
    """Decode the images of a version at the size that a model sees them.

    Labels of classes that are neither old nor to be learnt are left out.

    Raises:
        InputError: If an image is missing or unreadable.
    """
    classes = (*card.classes, *new_classes)
    manifest = version.manifest
    kept = tuple(row for row in manifest.rows if row.label in classes)
    chosen = Manifest(manifest.file, kept)
    how = card.preprocessing
    train, val, frozen = (
        load_labelled(
            chosen,
            split,
            root=version.folder,
            side_px=int(how["side_px"]),
            classes=classes,
            channels=how.get("channels", "grey"),
        )
        for split in ("train", "val", "test")
    )
    return Lessons(classes, train, val, frozen, chosen.of("train"))


def look_for_noise(features: Tensor, lessons: Lessons) -> NoiseFound:
    """Estimate the share of wrong training labels, and name the likely ones.

    Each fifth of the groups is judged by the class means and the covariance of the others.

    Args:
        features: Of the training images (n, d).
        lessons: Their labels and groups.
    """
    from medvit.learn.noise.confident import estimate_noise, find_suspects

    labels = lessons.train.labels
    counts = torch.bincount(labels, minlength=len(lessons.classes))
    counted = [index for index, n in enumerate(counts.tolist()) if n >= LEAST_OF_A_CLASS]
    chosen = torch.isin(labels, torch.tensor(counted))
    if int(chosen.sum()) < LEAST_TO_ESTIMATE or len(counted) < 2:
        return NoiseFound(None, None, ())
    places = chosen.nonzero().flatten()
    own = torch.searchsorted(torch.tensor(counted), labels[places])
    groups = [lessons.rows[at].group or lessons.rows[at].path for at in places.tolist()]
    numbers = np.unique(groups, return_inverse=True)[1]
    shares = _out_of_sample(features[places], own, numbers, classes=len(counted))
    if shares is None:
        return NoiseFound(None, None, ())
    estimate = estimate_noise(shares, own.numpy(), groups=numbers)
    names = [lessons.classes[index] for index in counted]
    suspects = tuple(
        SuspectLabel(
            lessons.rows[int(places[each.index])].path,
            names[each.label],
            names[each.suggested],
            each.confidence,
        )
        for each in find_suspects(shares, own.numpy(), estimate)
    )
    return NoiseFound(estimate.noise_rate, estimate.interval[0], suspects)


def without_suspects(lessons: Lessons, noise: NoiseFound) -> Lessons:
    """Return the lessons without likely wrong labels, if the estimate is high enough to ask."""
    if noise.low is None or noise.low < NOISE_ASKS:
        return lessons
    doubtful = {suspect.path for suspect in noise.suspects}
    kept = [at for at, row in enumerate(lessons.rows) if row.path not in doubtful]
    _log.warning(
        "%d of %d training labels look wrong and are left out until a reader has looked",
        len(lessons.rows) - len(kept),
        len(lessons.rows),
    )
    train = lessons.train
    fewer = LabelledImages(
        train.images[kept], train.targets[kept], tuple(train.paths[at] for at in kept)
    )
    return replace(lessons, train=fewer, rows=tuple(lessons.rows[at] for at in kept))


def _out_of_sample(
    features: Tensor, labels: Tensor, groups: np.ndarray, *, classes: int
) -> np.ndarray | None:
    """Return probabilities (n, k); None where a class lies in one fold alone."""
    from medvit.learn.tuning.prototype import tied_covariance_head

    folds = torch.from_numpy(groups % FOLDS)
    shares = torch.zeros(len(labels), classes, dtype=torch.float64)
    names = [str(index) for index in range(classes)]
    for fold in range(FOLDS):
        asked = folds == fold
        if not asked.any():
            continue
        if len(labels[~asked].unique()) < classes:  # type: ignore[no-untyped-call]
            return None
        head = tied_covariance_head(features[~asked], labels[~asked], names=names)
        with torch.no_grad():
            shares[asked] = head(features[asked]).double().softmax(dim=1)
    return shares.numpy()
