"""Images whose boxes no detector is trained on: the same ones for every comparison."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medvit.data.labels.label_set import Box
from medvit.errors import InputError


@dataclass(frozen=True, slots=True)
class FrozenBoxImage:
    """One image whose defects are all labelled; none means a sound surface.

    Attributes:
        path: Relative to `FrozenBoxes.root`.
        boxes: In pixels of the file.
        group: Images of one group are drawn together; an image without one is its own.
    """

    path: str
    boxes: tuple[Box, ...]
    group: str


@dataclass(frozen=True, slots=True)
class FrozenBoxes:
    """Images with boxes to compare detectors on.

    Attributes:
        name: For people; no path.
        root: What paths are relative to.
        cases: In the order of their manifest.
        sha256: Of paths, boxes, groups and the bytes of the files.
    """

    name: str
    root: Path
    cases: tuple[FrozenBoxImage, ...]
    sha256: str

    @property
    def groups(self) -> tuple[str, ...]:
        """Of each image."""
        return tuple(image.group or image.path for image in self.cases)

    @property
    def named_groups(self) -> tuple[str, ...]:
        """Groups that are named."""
        return tuple(image.group for image in self.cases if image.group)


def frozen_boxes(name: str, root: Path, images: Sequence[FrozenBoxImage]) -> FrozenBoxes:
    """Return images with boxes as frozen cases.

    Args:
        name: For people; no path.
        root: What paths are relative to.
        images: One at least holds a box.

    Raises:
        InputError: If none holds a box, or a file is missing.
    """
    if not any(image.boxes for image in images):
        msg = f"{name}: {len(images)} images hold no box to compare detectors on"
        raise InputError(msg, hint="choose another --split, or review images with defects")
    digest = hashlib.sha256(b"boxes\0")
    for image in images:
        edges = [(b.label, b.x_min, b.y_min, b.x_max, b.y_max) for b in image.boxes]
        digest.update(f"{image.path}\0{edges}\0{image.group}\0".encode())
        try:
            content = (root / image.path).read_bytes()
        except OSError as error:
            msg = f"{name}: {root / image.path} cannot be read ({error.strerror})"
            raise InputError(msg, hint="name what paths are relative to with --root") from error
        digest.update(hashlib.sha256(content).digest())
    return FrozenBoxes(name, root, tuple(images), digest.hexdigest())
