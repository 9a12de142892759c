"""Which images of a data set version are labelled whole, with all boxes that readers left there.

An image counts as labelled whole once every finding on it is decided: then what bears no box is
ground, the boxes that readers rejected too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from medvit.data.box_images import BoxRow
from medvit.data.labels.coco import read_coco
from medvit.data.labels.label_set import Box
from medvit.labels.cases import Standing
from medvit.labels.dataset import BOXES, DatasetVersion
from medvit.labels.places import BOX, is_same_place


@dataclass(frozen=True, slots=True)
class ReviewedBoxes:
    """The images of a version by split.

    Attributes:
        rows: Of images that are labelled whole; paths start at the version's folder.
        rejected: Hard negatives: boxes on these images that readers rejected.
        undecided: Images with a finding that nobody decided about, or that readers dispute.
        unplaced: Images with a label and no box of it.
    """

    rows: dict[str, list[BoxRow]]
    rejected: int
    undecided: int
    unplaced: int

    @property
    def left_out(self) -> str:
        """A sentence on images that cannot be learnt from yet; empty where there are none."""
        told = []
        if self.undecided:
            told.append(f"{self.undecided} images wait until all their findings are decided")
        if self.unplaced:
            told.append(f"{self.unplaced} images have a label and no box of it")
        return ", ".join(told)


def read_reviewed(version: DatasetVersion) -> ReviewedBoxes:
    """Return the images that are labelled whole, and count the others.

    A proposal where a decided box lies is decided, too: a new model proposes anew what readers
    have judged before.

    Raises:
        InputError: If a file of the version cannot be read.
    """
    true, wrong, open_ = (_boxes(version, standing) for standing in ("is", "not", "open"))
    rows: dict[str, list[BoxRow]] = {"train": [], "val": [], "test": []}
    rejected = undecided = unplaced = 0
    for row in version.manifest.rows:
        if row.split not in rows:
            continue
        boxes, negatives = true.get(row.path, ()), wrong.get(row.path, ())
        if any(not _is_known(box, (*boxes, *negatives)) for box in open_.get(row.path, ())):
            undecided += 1
        elif row.label and row.label not in {box.label for box in boxes}:
            unplaced += 1
        else:
            rows[row.split].append(BoxRow(row.path, boxes, row.group))
            rejected += len(negatives)
    return ReviewedBoxes(rows, rejected, undecided, unplaced)


def box_marks(version: DatasetVersion) -> dict[str, str]:
    """Return a hash of label and boxes by content, of all images that are labelled whole."""
    wrong = _boxes(version, "not")
    labels = {row.path: row.label for row in version.manifest.rows}
    reviewed = read_reviewed(version)
    return {
        version.contents[row.path]: hashlib.sha256(
            repr((labels[row.path], row.boxes, wrong.get(row.path, ()))).encode()
        ).hexdigest()
        for rows in reviewed.rows.values()
        for row in rows
    }


def _boxes(version: DatasetVersion, standing: Standing) -> dict[str, tuple[Box, ...]]:
    file = version.folder / BOXES[standing]
    if not file.is_file():  # versions of before there was a file of open boxes
        return {}
    return {image.row.path: image.boxes for image in read_coco(file).images}


def _is_known(box: Box, decided: Sequence[Box]) -> bool:
    return any(is_same_place(_place(box), _place(other)) for other in decided)


def _place(box: Box) -> dict[str, float]:
    return dict(zip(BOX, (box.x_min, box.y_min, box.x_max, box.y_max), strict=True))
