"""What a challenger of a box detector learns from: reviewed images, and the champion's first."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from medvit.data.box_images import BoxImages, BoxRow, load_box_images
from medvit.errors import ConfigError, InputError, ModelError
from medvit.inference.box_tiles import LARGER
from medvit.registry.registry import find_model
from medvit.workspace import Workspace
from pipelines.detecting.config import DetectData
from pipelines.detecting.data import BoxRows, read_box_rows

if TYPE_CHECKING:
    from medvit.labels.dataset import DatasetVersion
    from medvit.models.card import ModelCard
    from pipelines.retraining.reviewed_boxes import ReviewedBoxes

LEAST_REPLAYED = 150
"""First images beside the reviewed ones; three times as many as those, where that is more."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BoxLessons:
    """Images with boxes by split; frozen ones are only ever looked at, never learnt from.

    Attributes:
        classes: Old ones in the order of the champion's outputs, then new ones.
        train: Reviewed images, then replayed ones.
        reviewed: How many of `train` were reviewed.
    """

    classes: tuple[str, ...]
    train: BoxImages
    val: BoxImages
    frozen: BoxImages
    reviewed: int


def read_box_lessons(
    version: DatasetVersion,
    reviewed: ReviewedBoxes,
    card: ModelCard,
    workspace: Workspace,
    *,
    new_classes: Sequence[str],
) -> BoxLessons:
    """Decode reviewed images, and as many of the champion's first ones as are to be replayed.

    Boxes of classes that are neither old nor to be learnt are left out. Images that a scan
    would look at in tiles are left out and told: at the champion's size their defects vanish.

    Raises:
        InputError: If an image is missing or unreadable.
    """
    classes = (*card.classes, *new_classes)
    own = {
        split: _loaded(version.folder, rows, card, classes) for split, rows in reviewed.rows.items()
    }
    most = max(LEAST_REPLAYED, 3 * len(own["train"].rows))
    frozen = version.contents_of("test")
    found = first_boxes(card, workspace)
    if found is None:
        return BoxLessons(classes, own["train"], own["val"], own["test"], len(own["train"].rows))
    older = {
        split: _loaded(
            found.root, _chosen(found.root, found.rows[split], frozen, most=most), card, classes
        )
        for split in ("train", "val")
    }
    train, val = (joined_images([own[split], older[split]]) for split in ("train", "val"))
    _log.info("%d of the champion's own training images are replayed", len(older["train"].rows))
    return BoxLessons(classes, train, val, own["test"], len(own["train"].rows))


def first_boxes(card: ModelCard, workspace: Workspace) -> BoxRows | None:
    """Return the images that a detector or its nearest parent was trained by.

    None where the card names none, or they are not here any more.
    """
    from medvit.models.card import read_card

    data = card.training.get("data")
    if isinstance(data, dict) and "annotations" in data:
        try:
            return read_box_rows(DetectData.model_validate(data))
        except (ConfigError, InputError, ValidationError) as error:
            _log.info("the first images of %s are not here: %s", card.reference, error)
            return None
    for reference in card.parents:
        try:
            parent = read_card(find_model(reference, models=workspace.models).folder)
        except ModelError:
            continue
        found = first_boxes(parent, workspace)
        if found is not None:
            return found
    return None


def joined_images(parts: Sequence[BoxImages]) -> BoxImages:
    """Return images of several folders as one set, in the order of the parts."""
    return BoxImages(
        tuple(image for part in parts for image in part.images),
        tuple(boxes for part in parts for boxes in part.boxes),
        tuple(labels for part in parts for labels in part.labels),
        tuple(row for part in parts for row in part.rows),
        max(part.longest_px for part in parts),
    )


def only_images(images: BoxImages, places: Sequence[int]) -> BoxImages:
    """Return the images at some places; a place may come more than once."""
    return BoxImages(
        tuple(images.images[at] for at in places),
        tuple(images.boxes[at] for at in places),
        tuple(images.labels[at] for at in places),
        tuple(images.rows[at] for at in places),
        images.longest_px,
    )


def _loaded(
    root: Path, rows: Sequence[BoxRow], card: ModelCard, classes: Sequence[str]
) -> BoxImages:
    how = card.preprocessing
    known = [
        BoxRow(row.path, tuple(box for box in row.boxes if box.label in classes), row.group)
        for row in rows
    ]
    images, problems = load_box_images(
        root,
        known,
        classes=classes,
        side_px=int(how["side_px"]),
        multiple_px=max(card.architecture.arguments["strides_px"]),
        channels=how.get("channels", "grey"),
    )
    for problem in problems:
        _log.warning("%s: %s", problem.file, problem.message)
    most_px = LARGER * int(how.get("image_px", 0)) or np.inf
    small = [at for at, row in enumerate(images.rows) if max(row.size or (0, 0)) <= most_px]
    if len(small) < len(images.rows):
        _log.warning(
            "%d images are larger than %g px and are not learnt from: scans look at them in "
            "tiles; cut them into parts",
            len(images.rows) - len(small),
            most_px,
        )
        images = only_images(images, small)
    return images


def _chosen(
    root: Path, rows: Sequence[BoxRow], frozen: Collection[str], *, most: int
) -> list[BoxRow]:
    """Return at most so many images that are there and not frozen, in a fixed order of chance."""
    ranked = sorted(rows, key=lambda row: hashlib.sha256(row.path.encode()).hexdigest())
    there = [row for row in ranked[:most] if (root / row.path).is_file()]
    return [
        row
        for row in there
        if hashlib.sha256((root / row.path).read_bytes()).hexdigest() not in frozen
    ]
