"""YOLO: a text file an image, lines `class x y width height` as shares of the image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medvit.data.labels.label_set import (
    Box,
    ImageLabels,
    LabelSet,
    Problem,
    checked_boxes,
    image_files,
    main_label,
)
from medvit.data.manifest import ManifestRow
from medvit.errors import InputError, ReadError
from medvit.io.images.raster import inspect_image

CLASSES_FILE = "classes.txt"


def read_yolo(root: Path) -> LabelSet:
    """Return the boxes of a folder with `images/`, `labels/` and `classes.txt`.

    The text file of `images/a/b.png` is `labels/a/b.txt`, or lies beside the image.

    Raises:
        InputError: If `classes.txt` is missing or empty.
    """
    file = root / CLASSES_FILE
    names = file.read_text(encoding="utf-8").split("\n") if file.is_file() else []
    names = [name.strip() for name in names if name.strip()]
    if not names:
        msg = f"{root}: YOLO labels need {CLASSES_FILE}, one class name a line"
        raise InputError(msg, hint="write one; the first line is class 0")
    found, problems = [], []
    for name in image_files(root):
        labels = _label_file(root, name)
        if labels is None:
            problems.append(Problem(name, "no label file: taken as unlabelled"))
            found.append(ImageLabels(ManifestRow(name, "", "", "")))
            continue
        try:
            look = inspect_image(root / name)
        except ReadError as error:
            problems.append(Problem(name, f"{error.message}: listed without its boxes"))
            found.append(ImageLabels(ManifestRow(name, "", "", "")))
            continue
        size = (look.width, look.height)
        boxes, wrong = _read_lines(labels, names, size)
        kept, more = checked_boxes(boxes, size=size, file=labels.name)
        problems += [*wrong, *more]
        found.append(ImageLabels(ManifestRow(name, main_label(kept), "", ""), kept, size))
    return LabelSet(root, tuple(found), tuple(problems))


def write_yolo(folder: Path, images: Sequence[ImageLabels]) -> None:
    """Write `classes.txt` and `labels/`; the images stay where they are.

    Raises:
        ValueError: If the size of an image is not known.
    """
    names = sorted({box.label for image in images for box in image.boxes})
    (folder / CLASSES_FILE).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    for image in images:
        if image.size is None:
            msg = f"{image.row.path}: YOLO needs the size of the image, which is not known"
            raise ValueError(msg)
        target = folder / "labels" / Path(image.row.path).with_suffix(".txt")
        target.parent.mkdir(parents=True, exist_ok=True)
        lines = [_line(box, names.index(box.label), image.size) for box in image.boxes]
        target.write_text("".join(lines), encoding="utf-8")


def _line(box: Box, number: int, size: tuple[int, int]) -> str:
    width, height = size
    x, y = (box.x_min + box.x_max) / 2 / width, (box.y_min + box.y_max) / 2 / height
    wide, high = (box.x_max - box.x_min) / width, (box.y_max - box.y_min) / height
    return f"{number} {x:.8f} {y:.8f} {wide:.8f} {high:.8f}\n"


def _label_file(root: Path, name: str) -> Path | None:
    inside = name.removeprefix("images/")
    for candidate in (root / "labels" / inside, root / name):
        text = candidate.with_suffix(".txt")
        if text.is_file():
            return text
    return None


def _read_lines(
    file: Path, names: Sequence[str], size: tuple[int, int]
) -> tuple[list[Box], list[Problem]]:
    boxes, problems = [], []
    width, height = size
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        parts = line.split()
        if not parts:
            continue
        try:
            x, y, wide, high = (float(part) for part in parts[1:])
            label = names[_class_number(parts[0])]
        except (ValueError, IndexError):
            rule = f"`class x y width height` with a class of 0 to {len(names) - 1} expected"
            problems.append(Problem(f"{file.name}, line {number}", f"{rule}, got {line!r}"))
            continue
        left, top = round((x - wide / 2) * width, 3), round((y - high / 2) * height, 3)
        right, bottom = round((x + wide / 2) * width, 3), round((y + high / 2) * height, 3)
        boxes.append(Box(label, left, top, right, bottom))
    return boxes, problems


def _class_number(text: str) -> int:
    number = int(text)
    if number < 0:
        msg = f"a class number is at least 0, got {number}"
        raise ValueError(msg)
    return number
