"""Boxes that are there, boxes that were predicted, and the images they lie on."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

Xywh = tuple[float, float, float, float]
"""Left, top, width and height in pixels, 0-based and half-open."""


@dataclass(frozen=True, slots=True)
class TrueBox:
    """A labelled object.

    Attributes:
        image: Index of its image.
        label: Index of its class.
        xywh: Where it is.
        area_px2: Of the object, which need not fill its box.
        is_crowd: Many objects in one box: it may be hit often and counts neither way.
        is_difficult: Left out by the labeller's own word: a hit counts neither way.
    """

    image: int
    label: int
    xywh: Xywh
    area_px2: float
    is_crowd: bool = False
    is_difficult: bool = False


@dataclass(frozen=True, slots=True)
class PredictedBox:
    """A box that a detector gave; indices as those of the truth it is measured against."""

    image: int
    label: int
    xywh: Xywh
    score: float


@dataclass(frozen=True, slots=True)
class LabelledBoxes:
    """The boxes of a set of images.

    Attributes:
        file: Name of the file or folder they came from.
        images: Names of the images, in the order in which they are evaluated.
        classes: Names of the classes.
        boxes: Of all images.
        image_ids: Index of an image by each id or name that it goes by.
        class_ids: Index of a class by each id or name that it goes by.
    """

    file: str
    images: tuple[str, ...]
    classes: tuple[str, ...]
    boxes: tuple[TrueBox, ...]
    image_ids: Mapping[Hashable, int]
    class_ids: Mapping[Hashable, int]


def names_of(file_name: str) -> tuple[str, ...]:
    """Return what an image may be called: its path, its name, and its name without suffix.

    Examples:
        >>> names_of("images/scratch/7.png")
        ('images/scratch/7.png', '7.png', '7')
    """
    path = PurePosixPath(file_name.replace("\\", "/"))
    return str(path), path.name, path.stem


def unambiguous(names: Mapping[int, tuple[str, ...]]) -> dict[Hashable, int]:
    """Return the index by each name that only one image bears."""
    found: dict[Hashable, int] = {}
    twice: set[Hashable] = set()
    for index, given in names.items():
        for name in dict.fromkeys(given):
            if found.setdefault(name, index) != index:
                twice.add(name)
    return {name: index for name, index in found.items() if name not in twice}
