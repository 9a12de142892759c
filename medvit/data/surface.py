"""Surface images in memory, and the data sets that show them to a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from medvit.data.augment.surface import SurfaceViews, view_seed
from medvit.data.grey import Channels, prepare_channels
from medvit.errors import InputError, ReadError
from medvit.io.readers import read_image

GREY_LEVELS = 255


def load_grey_images(root: Path, paths: Sequence[str], *, side_px: int) -> NDArray[np.uint8]:
    """Return decoded images, shape (n, side, side), in the order of `paths`.

    Raises:
        InputError: If one is missing or unreadable; the message names it.
    """
    return load_images(root, paths, side_px=side_px, channels="grey")


def load_images(
    root: Path, paths: Sequence[str], *, side_px: int, channels: Channels
) -> NDArray[np.uint8]:
    """Return decoded images in the order of `paths`.

    Returns:
        Shape (n, side, side) for grey, (n, side, side, 3) for colour.

    Raises:
        InputError: If one is missing or unreadable; the message names it.
    """
    depth = () if channels == "grey" else (3,)
    images = np.empty((len(paths), side_px, side_px, *depth), dtype=np.uint8)
    for index, path in enumerate(paths):
        try:
            pixels = read_image(root / path, isolated=False).pixels
        except (ReadError, InputError, OSError) as error:
            msg = f"{root / path}: a training image must be readable ({error})"
            raise InputError(msg, hint="check data.root and the paths of data.manifest") from error
        planes = prepare_channels(pixels, side_px=side_px, channels=channels)
        levels = np.round(planes * GREY_LEVELS).astype(np.uint8)
        images[index] = levels[0] if channels == "grey" else levels.transpose(1, 2, 0)
    return images


def longest_side(root: Path, paths: Sequence[str]) -> int:
    """Return the longer side of the largest image in pixels; headers alone are read.

    Raises:
        InputError: If an image is not there.
        ReadError: If it cannot be read.
    """
    longest = 0
    for path in paths:
        try:
            with Image.open(root / path) as image:
                longest = max(longest, *image.size)
        except UnidentifiedImageError:  # a format that only our own readers know
            longest = max(longest, *read_image(root / path, isolated=False).pixels.shape[:2])
    return longest


def as_input(image: NDArray[np.uint8]) -> Tensor:
    """Return an image (h, w) or (h, w, 3) as float32 (1 or 3, h, w) in 0..1."""
    shares = torch.from_numpy(image.astype(np.float32) / GREY_LEVELS)
    return shares[None] if image.ndim == 2 else shares.permute(2, 0, 1).contiguous()


class EpochOrder(Sampler[tuple[int, int]]):
    """Visits every image once an epoch, in an order drawn from (seed, epoch).

    Yields (epoch, index), so that a data set can draw its views from the epoch too:
    a resumed run sees what an uninterrupted one would have seen.
    """

    def __init__(self, length: int, *, seed: int) -> None:
        self.length = length
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to be visited next; the training loop calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of images."""
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (epoch, index)."""
        rng = np.random.default_rng((self.seed, self.epoch))
        for index in rng.permutation(self.length):
            yield self.epoch, int(index)


class TwoViews(Dataset[tuple[Tensor, Tensor]]):
    """Two views of each image, for contrastive pretraining; labels are never read."""

    def __init__(self, images: NDArray[np.uint8], *, views: SurfaceViews, seed: int) -> None:
        self.images = images
        self.views = views
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return two views (c, side, side) of image `index` as drawn in `epoch`."""
        epoch, index = key
        image = self.images[index]
        first, second = (
            self.views.view(image, seed=view_seed(self.seed, epoch, index, number))
            for number in (0, 1)
        )
        return as_input(first), as_input(second)


class LabelledViews(Dataset[tuple[Tensor, Tensor]]):
    """One view of each image with its target: a class index, or class probabilities."""

    def __init__(
        self, images: NDArray[np.uint8], targets: Tensor, *, views: SurfaceViews | None, seed: int
    ) -> None:
        self.images = images
        self.targets = targets
        self.views = views
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return (c, side, side) and the target; the image as it is without `views`."""
        epoch, index = key
        image = self.images[index]
        if self.views is not None:
            image = self.views.view(image, seed=view_seed(self.seed, epoch, index))
        return as_input(image), self.targets[index]
