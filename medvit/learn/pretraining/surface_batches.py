"""Batches of views of images in memory, and how long the training waits for them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medvit.data.augment.surface import view_seed
from medvit.data.surface import EpochOrder
from medvit.learn.pretraining.devices import rank_and_world
from medvit.learn.pretraining.surface_views import (
    SurfaceViewSettings,
    ViewDraws,
    apply_views,
    draw_pairs,
    draw_views,
)

Key = tuple[int, int]  # epoch, index


class SurfaceBatch(NamedTuple):
    """Views of n images.

    Attributes:
        views: (v, n, 1, side, side) in 0..1.
        groups: (n,) what an image was taken of, int64; a number of its own where unknown.
    """

    views: Tensor
    groups: Tensor


class SurfaceViewBatches(Dataset[SurfaceBatch]):
    """Makes whole batches: the images are decoded once, and a batch is augmented at once.

    A batch depends on the seed, the epoch and the images in it: a resumed run sees what an
    uninterrupted one would have seen.

    Args:
        images: Grey (n, h, w), uint8.
        settings: Of the views.
        views: 1 or 2 of each image.
        seed: Of all draws.
        groups: Of each image, an empty name for none; never a label.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        *,
        settings: SurfaceViewSettings,
        views: int,
        seed: int,
        groups: Sequence[str] = (),
    ) -> None:
        if views not in (1, 2):
            msg = f"an image is seen once or twice in a batch, got {views} views"
            raise ValueError(msg)
        self.images = torch.from_numpy(images)
        self.settings = settings
        self.views = views
        self.seed = seed
        self.groups = group_numbers(groups or [""] * len(images))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, key: Key) -> SurfaceBatch:
        """Return a batch of one image."""
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[Key]) -> SurfaceBatch:
        """Return the views of the images of one batch; the loader asks for a batch at once."""
        epoch, first = keys[0]
        generator = torch.Generator().manual_seed(view_seed(self.seed, epoch, first, len(keys)))
        indices = torch.tensor([index for _, index in keys])
        chosen, side = self.images[indices], self.settings.side_px
        how = len(keys), self.settings
        drawn: Sequence[ViewDraws]
        if self.views == 1:
            drawn = (draw_views(*how, generator=generator),)
        else:
            drawn = draw_pairs(*how, generator=generator)
        views = torch.stack([apply_views(chosen, draws, side_px=side) for draws in drawn])
        return SurfaceBatch(views, self.groups[indices])


def group_numbers(groups: Sequence[str]) -> Tensor:
    """Return a number for each group (n,); an image without one is a group of its own.

    Examples:
        >>> group_numbers(["a", "", "a", ""]).tolist()
        [0, 1, 0, 3]
    """
    first: dict[str, int] = {}
    numbers = [
        first.setdefault(group, place) if group else place for place, group in enumerate(groups)
    ]
    return torch.tensor(numbers)


class SharedOrder(EpochOrder):
    """An order of all images of which each of several processes takes its part, none twice."""

    def __len__(self) -> int:
        """Return the images of this process."""
        return self.length // rank_and_world()[1]

    def __iter__(self) -> Iterator[Key]:
        """Yield (epoch, index)."""
        rank, world = rank_and_world()
        yield from list(super().__iter__())[rank : len(self) * world : world]


class TimedLoader(DataLoader[SurfaceBatch]):
    """A loader that counts the seconds in which the training waited for it.

    Attributes:
        waited_s: Of all batches so far, in this process.
        batches: How many.
    """

    waited_s: float = 0.0
    batches: int = 0

    def __iter__(self) -> Iterator[SurfaceBatch]:  # type: ignore[override]
        """Yield batches."""
        source = super().__iter__()
        while True:
            started = time.perf_counter()
            batch = next(source, None)
            self.waited_s += time.perf_counter() - started
            if batch is None:
                return
            self.batches += 1
            yield batch


def surface_loader(dataset: SurfaceViewBatches, *, batch_size: int, workers: int) -> TimedLoader:
    """Return a loader of whole batches in an order drawn anew for each epoch.

    Args:
        dataset: What makes the batches.
        batch_size: Images; a last part of an epoch that is smaller is left out.
        workers: Processes that augment beside the training; 0: the training itself does.
    """
    more: dict[str, Any] = {"persistent_workers": True, "prefetch_factor": 2} if workers else {}
    return TimedLoader(
        dataset,
        batch_size=batch_size,
        sampler=SharedOrder(len(dataset), seed=dataset.seed),
        drop_last=True,
        collate_fn=_as_it_is,  # type: ignore[arg-type]
        num_workers=workers,
        **more,
    )


def _as_it_is(batch: SurfaceBatch) -> SurfaceBatch:
    return batch
