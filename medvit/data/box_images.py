"""Images with labelled boxes in memory, and the data set that shows them to a detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from medvit.data.augment.boxes import BoxViews
from medvit.data.augment.surface import view_seed
from medvit.data.box_canvas import Boxes, fit_canvas
from medvit.data.grey import Channels
from medvit.data.labels.label_set import Box, Problem, checked_boxes
from medvit.data.surface import GREY_LEVELS, as_input
from medvit.errors import InputError, ReadError
from medvit.io.readers import read_image


@dataclass(frozen=True, slots=True)
class BoxRow:
    """An image whose defects are labelled, all of them; none means a sound surface.

    Attributes:
        path: As its manifest or annotation file names it.
        boxes: In pixels of the file.
        group: What never straddles splits.
        size: Width and height as the annotations say, None where they do not.
    """

    path: str
    boxes: tuple[Box, ...]
    group: str = ""
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class BoxImages:
    """Images on square canvases and their boxes.

    Attributes:
        images: uint8 (n, side, side), in colour (n, side, side, 3).
        boxes: Of each image in pixels of the canvas (k, 4).
        labels: Class indices of these boxes (k,).
        rows: What the images were read from; boxes checked against the pixels.
        longest_px: Longer side of the largest file.
    """

    images: NDArray[np.uint8]
    boxes: tuple[Boxes, ...]
    labels: tuple[NDArray[np.int64], ...]
    rows: tuple[BoxRow, ...]
    longest_px: int


class BoxBatch(NamedTuple):
    """Pixels (n, c, h, w), and for each image its boxes (k, 4) and their classes (k,)."""

    pixels: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]


def load_box_images(
    root: Path,
    rows: Sequence[BoxRow],
    *,
    classes: Sequence[str],
    side_px: int,
    channels: Channels,
) -> tuple[BoxImages, list[Problem]]:
    """Decode images, and check their boxes against the pixels there are.

    Args:
        root: Folder that paths start from.
        rows: Images with boxes of `classes` only.
        side_px: Of the canvas; the longer side of an image becomes that.

    Returns:
        The images, and what was wrong with boxes, by file.

    Raises:
        InputError: If an image is missing or unreadable; the message names it.
    """
    depth = () if channels == "grey" else (3,)
    images = np.empty((len(rows), side_px, side_px, *depth), dtype=np.uint8)
    place = {name: index for index, name in enumerate(classes)}
    kept: list[BoxRow] = []
    boxes, labels, problems, longest = [], [], list[Problem](), 0
    for index, row in enumerate(rows):
        pixels = _decoded(root, row.path)
        height, width = pixels.shape[:2]
        longest = max(longest, height, width)
        problems += _other_size(row, (width, height))
        own, wrong = checked_boxes(row.boxes, size=(width, height), file=row.path)
        problems += wrong
        canvas = fit_canvas(pixels, side_px=side_px, channels=channels, multiple_px=side_px)
        levels = np.round(canvas.planes * GREY_LEVELS).astype(np.uint8)
        images[index] = levels[0] if channels == "grey" else levels.transpose(1, 2, 0)
        edges = [(box.x_min, box.y_min, box.x_max, box.y_max) for box in own]
        boxes.append(np.array(edges, dtype=np.float64).reshape(-1, 4) * canvas.scale)
        labels.append(np.array([place[box.label] for box in own], dtype=np.int64))
        kept.append(BoxRow(row.path, own, row.group, (width, height)))
    return BoxImages(images, tuple(boxes), tuple(labels), tuple(kept), longest), problems


def _other_size(row: BoxRow, size: tuple[int, int]) -> list[Problem]:
    if row.size is None or row.size == size:
        return []
    said, there = (f"{width}x{height}" for width, height in (row.size, size))
    msg = f"annotated as {said} pixels, but it has {there}: boxes are taken as pixels of the image"
    return [Problem(row.path, msg)]


def _decoded(root: Path, path: str) -> NDArray[np.float32]:
    try:
        return read_image(root / path, isolated=False).pixels
    except (ReadError, InputError, OSError) as error:
        msg = f"{root / path}: a training image must be readable ({error})"
        raise InputError(msg, hint="take it out of the annotations, or set data.root") from error


class BoxItem(NamedTuple):
    """One image: pixels (c, h, w), boxes (k, 4), classes (k,)."""

    pixels: Tensor
    boxes: Tensor
    labels: Tensor


class BoxDataset(Dataset[BoxItem]):
    """A view of each image with the boxes that it shows.

    Args:
        images: What is shown.
        views: How views are drawn; None shows images as they are.
        seed: Of the draws, beside epoch and index.
    """

    def __init__(self, images: BoxImages, *, views: BoxViews | None, seed: int) -> None:
        self.images = images
        self.views = views
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images.rows)

    def __getitem__(self, key: tuple[int, int]) -> BoxItem:
        """Return image `index` as drawn in `epoch`."""
        epoch, index = key
        image, boxes = self.images.images[index], self.images.boxes[index]
        labels = self.images.labels[index]
        if self.views is not None:
            rng = np.random.default_rng(view_seed(self.seed, epoch, index))
            image, boxes, shown = self.views.view(image, boxes, rng=rng)
            labels = labels[shown]
        return BoxItem(as_input(image), torch.from_numpy(boxes).float(), torch.from_numpy(labels))


def collate_boxes(items: Sequence[BoxItem]) -> BoxBatch:
    """Return items of one size as a batch."""
    return BoxBatch(
        torch.stack([item.pixels for item in items]),
        [item.boxes for item in items],
        [item.labels for item in items],
    )
