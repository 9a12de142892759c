"""Masks: an image of class numbers beside each image; every connected piece becomes a box."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import find_objects, label

from medvit.data.labels.label_set import (
    Box,
    ImageLabels,
    LabelSet,
    Problem,
    image_files,
    main_label,
)
from medvit.data.manifest import ManifestRow
from medvit.errors import ReadError
from medvit.io.images.raster import inspect_image
from medvit.io.images.samples import read_samples

TOUCHING = np.ones((3, 3), bool)


def read_masks(images: Path, masks: Path) -> LabelSet:
    """Return one box for each connected piece of a class in the mask of the same stem.

    The class is the grey value: 0 is sound surface, `1` to `255` are names. A mask that
    holds one value only, such as 255, has one class.
    """
    by_stem = {Path(name).stem: name for name in image_files(masks)}
    found, problems = [], []
    for name in image_files(images):
        mask = by_stem.get(Path(name).stem)
        row = ManifestRow(name, "", "", "")
        if mask is None:
            problems.append(Problem(name, "no mask: taken as unlabelled"))
            found.append(ImageLabels(row))
            continue
        try:
            look = inspect_image(images / name)
            values = read_samples(masks / mask).values
        except ReadError as error:
            problems.append(Problem(name, f"{error.message}: listed without its boxes"))
            found.append(ImageLabels(row))
            continue
        size = (look.width, look.height)
        if values.shape[:2] != size[::-1]:
            is_of = f"{values.shape[1]}x{values.shape[0]}"
            problems.append(Problem(mask, f"the mask is {is_of}, its image {size[0]}x{size[1]}"))
            found.append(ImageLabels(row, (), size))
            continue
        boxes = boxes_of_mask(values if values.ndim == 2 else values[:, :, 0])
        found.append(ImageLabels(ManifestRow(name, main_label(boxes), "", ""), boxes, size))
    return LabelSet(images, tuple(found), tuple(problems))


def boxes_of_mask(mask: np.ndarray) -> tuple[Box, ...]:
    """Return the boxes of the connected pieces (8 neighbours) of every value but 0.

    Examples:
        >>> boxes_of_mask(np.array([[0, 2, 0], [0, 0, 2], [1, 0, 0]]))[1]
        Box(label='2', x_min=1.0, y_min=0.0, x_max=3.0, y_max=2.0)
    """
    boxes = []
    for value in np.unique(mask[mask > 0]):
        pieces, _ = label(mask == value, structure=TOUCHING)
        for rows, columns in find_objects(pieces):
            corners = (columns.start, rows.start, columns.stop, rows.stop)
            boxes.append(Box(str(value), *(float(corner) for corner in corners)))
    return tuple(boxes)
