"""The labelled images of one split, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medvit.data.grey import Channels
from medvit.data.manifest import Manifest, ManifestRow
from medvit.data.surface import load_images
from medvit.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """Images and what they show.

    Attributes:
        images: uint8, shape (n, side, side), in colour (n, side, side, 3).
        targets: Class indices (n,), or class probabilities (n, k).
        paths: As the manifest names them.
    """

    images: NDArray[np.uint8]
    targets: Tensor
    paths: tuple[str, ...]

    @property
    def labels(self) -> Tensor:
        """Class indices (n,), also of soft targets."""
        return self.targets.argmax(dim=1) if self.targets.ndim == 2 else self.targets

    def at(self, places: NDArray[np.intp]) -> LabelledImages:
        """Return the images at some places, in their order."""
        paths = tuple(self.paths[place] for place in places.tolist())
        return LabelledImages(self.images[places], self.targets[torch.from_numpy(places)], paths)

    def counts(self, *, classes: int) -> Tensor:
        """Return images per class, shape (k,); soft targets count by their share."""
        if self.targets.ndim == 2:
            return self.targets.sum(dim=0)
        return torch.bincount(self.targets, minlength=classes).float()


def training_classes(manifest: Manifest) -> tuple[str, ...]:
    """Return the names of the classes to be learnt, sorted.

    Raises:
        ConfigError: If there are fewer than two, or one has no training image.
    """
    rows = manifest.of("train")
    soft = manifest.soft_classes if any(row.soft for row in rows) else ()
    classes = tuple(sorted({row.label for row in rows if row.label} | {*soft}))
    if len(classes) < 2:
        msg = (
            f"{manifest.file}: a classifier needs at least 2 classes in split train, "
            f"found {len(classes)}: {', '.join(classes) or 'none'}"
        )
        raise ConfigError(msg, hint="label images of a second class, or check the split column")
    unknown = sorted({row.label for row in manifest.rows if row.label} - {*classes})
    if unknown:
        msg = f"{manifest.file}: classes without a training image: {', '.join(unknown)}"
        raise ConfigError(msg, hint="move some of their images to split train, or drop the rows")
    return classes


def load_labelled(
    manifest: Manifest,
    split: str,
    *,
    root: Path,
    side_px: int,
    classes: Sequence[str],
    channels: Channels = "grey",
) -> LabelledImages:
    """Return the labelled images of one split; rows without a label are left out.

    Raises:
        InputError: If an image is missing or unreadable.
    """
    rows = [row for row in manifest.of(split) if row.label or row.soft]
    paths = tuple(row.path for row in rows)
    images = load_images(root, paths, side_px=side_px, channels=channels)
    return LabelledImages(images, targets_of(manifest, rows, classes=classes), paths)


def load_unlabelled(
    manifest: Manifest, *, root: Path, side_px: int, most: int, channels: Channels = "grey"
) -> NDArray[np.uint8]:
    """Return images of split train without a label, (n, side, side), in colour (..., 3).

    Their groups are in no other split, as the manifest has been checked for.

    Args:
        most: If there are more, so many evenly spaced ones are taken.

    Raises:
        InputError: If an image is missing or unreadable.
    """
    paths = [row.path for row in manifest.of("train") if not row.label and not row.soft]
    kept = np.unique(np.linspace(0, len(paths) - 1, min(most, len(paths))).astype(int))
    chosen = [paths[place] for place in kept]
    return load_images(root, chosen, side_px=side_px, channels=channels)


def targets_of(
    manifest: Manifest, rows: Sequence[ManifestRow], *, classes: Sequence[str]
) -> Tensor:
    """Return class indices (n,), or probabilities (n, k) when any row is soft.

    Raises:
        ValueError: If a row has neither a label nor soft labels.
    """
    place = {name: index for index, name in enumerate(classes)}
    shares = torch.zeros(len(rows), len(classes))
    for index, row in enumerate(rows):
        given = dict(zip(manifest.soft_classes, row.soft, strict=False)) or {row.label: 1.0}
        for name, share in given.items():
            if name not in place:
                msg = f"{row.path}: a label must be one of {', '.join(classes)}, got {name!r}"
                raise ValueError(msg)
            shares[index, place[name]] = share
    return shares if any(row.soft for row in rows) else shares.argmax(dim=1)
