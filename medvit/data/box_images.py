"""Images with labelled boxes in memory, and the batches that show them to a detector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from medvit.data.augment.boxes import BoxViews
from medvit.data.augment.surface import view_seed
from medvit.data.box_canvas import Boxes, fit_canvas
from medvit.data.grey import Channels
from medvit.data.labels.label_set import Box, Problem, checked_boxes
from medvit.data.surface import GREY_LEVELS, EpochOrder, as_input
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
    """Images as a detector sees them, each of its own form, and their boxes.

    Attributes:
        images: Canvases, uint8 (h, w), in colour (h, w, 3).
        boxes: Of each image in pixels of the canvas (k, 4).
        labels: Class indices of these boxes (k,).
        rows: What the images were read from; boxes checked against the pixels.
        longest_px: Longer side of the largest file.
    """

    images: tuple[NDArray[np.uint8], ...]
    boxes: tuple[Boxes, ...]
    labels: tuple[NDArray[np.int64], ...]
    rows: tuple[BoxRow, ...]
    longest_px: int

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of each canvas."""
        return [(image.shape[0], image.shape[1]) for image in self.images]


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
    multiple_px: int,
    channels: Channels,
) -> tuple[BoxImages, list[Problem]]:
    """Decode images, and check their boxes against the pixels there are.

    Args:
        root: Folder that paths start from.
        rows: Images with boxes of `classes` only.
        side_px: The longer side of an image becomes that.
        multiple_px: Sides of a canvas are multiples of it, or `side_px`.

    Returns:
        The images, and what was wrong with boxes, by file.

    Raises:
        InputError: If an image is missing or unreadable; the message names it.
    """
    place = {name: index for index, name in enumerate(classes)}
    kept: list[BoxRow] = []
    images, boxes, labels, problems, longest = [], [], [], list[Problem](), 0
    for row in rows:
        pixels = _decoded(root, row.path)
        height, width = pixels.shape[:2]
        longest = max(longest, height, width)
        problems += _other_size(row, (width, height))
        own, wrong = checked_boxes(row.boxes, size=(width, height), file=row.path)
        problems += wrong
        canvas = fit_canvas(pixels, side_px=side_px, channels=channels, multiple_px=multiple_px)
        levels = np.round(canvas.planes * GREY_LEVELS).astype(np.uint8)
        images.append(_as_image(levels))
        edges = [(box.x_min, box.y_min, box.x_max, box.y_max) for box in own]
        boxes.append(np.array(edges, dtype=np.float64).reshape(-1, 4) * canvas.scale)
        labels.append(np.array([place[box.label] for box in own], dtype=np.int64))
        kept.append(BoxRow(row.path, own, row.group, (width, height)))
    loaded = BoxImages(tuple(images), tuple(boxes), tuple(labels), tuple(kept), longest)
    return loaded, problems


def _as_image(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return planes (c, h, w) as (h, w) or (h, w, 3)."""
    return planes[0] if len(planes) == 1 else np.ascontiguousarray(planes.transpose(1, 2, 0))


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
    """Return items as a batch; smaller ones lie upper left, on a ground of their mean."""
    height, width = (max(item.pixels.shape[axis] for item in items) for axis in (1, 2))
    return BoxBatch(
        torch.stack([_padded(item.pixels, height, width) for item in items]),
        [item.boxes for item in items],
        [item.labels for item in items],
    )


def _padded(pixels: Tensor, height: int, width: int) -> Tensor:
    if pixels.shape[1:] == (height, width):
        return pixels
    ground = pixels.mean(dim=(1, 2), keepdim=True)
    whole = ground.expand(-1, height, width).clone()
    whole[:, : pixels.shape[1], : pixels.shape[2]] = pixels
    return whole


class SizedBatches(Sampler[list[tuple[int, int]]]):
    """Batches of images of one size, so that a strip is not padded to a square.

    An epoch has as many batches as without sizes: what is left over of each size is batched
    with its neighbours in size, and fewer images than a batch, the last of the epoch's order,
    wait for the next one.

    Args:
        sizes: Height and width of each image.
        batch_size: Images of a batch; no batch has fewer.
        order: In which images are visited.
    """

    def __init__(
        self, sizes: Sequence[tuple[int, int]], *, batch_size: int, order: EpochOrder
    ) -> None:
        self.sizes = sizes
        self.batch_size = batch_size
        self.sampler = order  # Lightning looks for `set_epoch` at this name

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.sizes) // self.batch_size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield lists of (epoch, index)."""
        order = list(self.sampler)
        waiting: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for key in order:
            own = waiting.setdefault(self.sizes[key[1]], [])
            own.append(key)
            if len(own) == self.batch_size:
                yield waiting.pop(self.sizes[key[1]])
        still = {key for own in waiting.values() for key in own}
        left = [key for key in order if key in still]
        left = left[: len(left) // self.batch_size * self.batch_size]
        left.sort(key=lambda key: self.sizes[key[1]])
        for start in range(0, len(left), self.batch_size):
            yield left[start : start + self.batch_size]


def box_batches(
    images: BoxImages, *, views: BoxViews, batch_size: int, seed: int
) -> DataLoader[Any]:
    """Return the batches of a training; images of one size go together."""
    order = EpochOrder(len(images.rows), seed=seed)
    return DataLoader(
        BoxDataset(images, views=views, seed=seed),
        batch_sampler=SizedBatches(images.sizes, batch_size=batch_size, order=order),
        collate_fn=collate_boxes,
    )
