"""What a training of boxes learns from: annotations -> images with boxes -> splits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medvit.data.box_images import BoxImages, BoxRow, load_box_images
from medvit.data.boxes.labelled import names_of, unambiguous
from medvit.data.labels.formats import read_labels, sniff
from medvit.data.labels.label_set import ImageLabels, LabelSet, Problem
from medvit.data.manifest import ManifestRow, read_manifest
from medvit.data.splits import SplitShares, split_by_group
from medvit.errors import ConfigError
from medvit.resources import configs_folder
from pipelines.detecting.config import DetectData

SPLITS = ("train", "val", "test")
WITH_BOXES = ("coco", "voc", "yolo")
MOST_NAMED = 20
PROBLEMS_FILE = "problems.csv"
PRACTICE = "medvit phantom practice --kind surface --count 350 makes annotations to try it with"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BoxSplits:
    """The images of a training.

    Attributes:
        root: Folder that the paths of images start from.
        classes: Names of the boxes of split train, sorted.
        images: By split.
        problems: All that was not taken as it is, by file.
    """

    root: Path
    classes: tuple[str, ...]
    images: dict[str, BoxImages]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class BoxRows:
    """What annotations and manifest say, before any image is decoded.

    Attributes:
        root: Folder that the paths of images start from.
        rows: By split.
        problems: Images and boxes that are left out, or were changed.
    """

    root: Path
    rows: dict[str, list[BoxRow]]
    problems: tuple[Problem, ...]


def read_splits(data: DetectData, *, multiple_px: int) -> BoxSplits:
    """Return the images of all splits with their boxes; nothing is left out without a word.

    Args:
        data: What to read.
        multiple_px: Of the sides of images as the detector sees them: its coarsest stride.

    Raises:
        ConfigError: If a path is missing, the annotations hold no boxes or belong to other
            images, no box is there to train on, or a class is never trained on.
        InputError: If a file cannot be read.
    """
    known = read_box_rows(data)
    classes = _classes(known, data)
    problems, images = list(known.problems), {}
    for split, own in known.rows.items():
        images[split], wrong = load_box_images(
            known.root,
            own,
            classes=classes,
            side_px=data.side_px,
            multiple_px=multiple_px,
            channels=data.channels,
        )
        problems += wrong
    problems = list(dict.fromkeys(problems))
    _tell(problems)
    return BoxSplits(known.root, classes, images, tuple(problems))


def read_box_rows(data: DetectData) -> BoxRows:
    """Return the images of all splits by name, with their boxes.

    Raises:
        ConfigError: If a path is missing, or the annotations hold no boxes or belong to other
            images.
        InputError: If a file cannot be read.
    """
    labels = _annotated(data)
    placed, problems = _placed(labels, data)
    rows = {
        split: [_box_row(each, row) for each, row in placed if row.split == split]
        for split in SPLITS
    }
    return BoxRows(labels.root, rows, (*labels.problems, *problems))


def _annotated(data: DetectData) -> LabelSet:
    """Return the images of the annotations that are there."""
    annotations = _existing(data.annotations, "data.annotations", hint=PRACTICE)
    if data.root is not None and not data.root.is_dir():
        msg = f"data.root={data.root}: no such folder"
        raise ConfigError(msg, hint="set data.root=FOLDER, the folder of the images")
    found = sniff(annotations)
    if found not in WITH_BOXES:
        msg = f"data.annotations={annotations}: boxes are read from COCO, VOC or YOLO, not {found}"
        raise ConfigError(msg, hint=f"{PRACTICE}; task: classify learns from labels alone")
    labels = read_labels(annotations, format_=found, images=data.root)
    there = tuple(each for each in labels.images if (labels.root / each.row.path).is_file())
    if not there:
        first = labels.images[0].row.path if labels.images else "none"
        msg = (
            f"{annotations.name}: none of its {len(labels.images)} images is in {labels.root}, "
            f"the first is {first}"
        )
        raise ConfigError(msg, hint="set data.root=FOLDER, the folder that its file names start in")
    if found == "voc":
        stems = {file.stem for file in annotations.rglob("*.xml")}
        there = tuple(each for each in there if Path(each.row.path).stem in stems)
    return LabelSet(labels.root, there, labels.problems)


def _existing(path: Path, key: str, *, hint: str) -> Path:
    for candidate in (path, configs_folder() / path):
        if candidate.exists():
            return candidate
    msg = f"{key}={path}: no such file or folder"
    raise ConfigError(msg, hint=hint)


def _placed(
    labels: LabelSet, data: DetectData
) -> tuple[list[tuple[ImageLabels, ManifestRow]], list[Problem]]:
    """Return images with the row that says their split, and those that have none."""
    if data.manifest is None:
        logger.warning(
            "no data.manifest: images are split one by one; `medvit split` keeps copies together"
        )
        rows = split_by_group([each.row for each in labels.images], shares=SplitShares())
        return list(zip(labels.images, rows, strict=True)), []
    file = _existing(data.manifest, "data.manifest", hint="leave it out, or name a CSV")
    given = read_manifest(file).rows
    index_of = unambiguous({at: names_of(row.path) for at, row in enumerate(given)})
    placed, problems, taken = [], list[Problem](), set[int]()
    for each in labels.images:
        at = next((index_of[n] for n in names_of(each.row.path) if n in index_of), None)
        if at is None:
            problems.append(Problem(each.row.path, f"not in {file.name}: left out"))
        else:
            taken.add(at)
            placed.append((each, given[at]))
    if not placed:
        msg = (
            f"{file}: none of the {len(labels.images)} annotated images is in it, the first is "
            f"{labels.images[0].row.path}"
        )
        raise ConfigError(msg, hint="name the manifest of these images")
    problems += [
        Problem(row.path, f"in {file.name}, but without annotation: left out")
        for at, row in enumerate(given)
        if at not in taken and row.split
    ]
    problems += [
        Problem(row.path, f"without split in {file.name}: left out")
        for _, row in placed
        if not row.split
    ]
    return placed, problems


def _classes(known: BoxRows, data: DetectData) -> tuple[str, ...]:
    seen = {
        split: {box.label for row in rows for box in row.boxes}
        for split, rows in known.rows.items()
    }
    if not seen["train"]:
        images = len(known.rows["train"])
        msg = f"{data.annotations}: no box in the {images} images of split train to learn from"
        raise ConfigError(msg, hint="check the split column and the annotations")
    unseen = sorted((seen["val"] | seen["test"]) - seen["train"])
    if unseen:
        msg = f"{data.annotations}: classes without a box in split train: {', '.join(unseen)}"
        raise ConfigError(msg, hint="move some of their images to split train, or drop their boxes")
    return tuple(sorted(seen["train"]))


def _box_row(each: ImageLabels, row: ManifestRow) -> BoxRow:
    return BoxRow(each.row.path, each.boxes, row.group or row.path, each.size)


def _tell(problems: Sequence[Problem]) -> None:
    for problem in problems[:MOST_NAMED]:
        logger.warning("%s: %s", problem.file, problem.message)
    if len(problems) > MOST_NAMED:
        left = len(problems) - MOST_NAMED
        logger.warning("and %d more; all are in %s of the run folder", left, PROBLEMS_FILE)
