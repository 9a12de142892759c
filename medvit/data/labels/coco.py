"""COCO JSON: images, categories and boxes `[x, y, width, height]`, 0-based."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medvit.atomic import write_text
from medvit.data.labels.label_set import (
    Box,
    ImageLabels,
    LabelSet,
    Problem,
    checked_boxes,
    main_label,
)
from medvit.data.manifest import ManifestRow
from medvit.errors import InputError


def read_coco(file: Path, images: Path | None = None) -> LabelSet:
    """Return the images and boxes of a COCO file.

    Args:
        images: Folder that `file_name` starts from; default: the folder of the file.

    Raises:
        InputError: If the file is no COCO JSON; the message says what is missing.
    """
    root = images or file.parent
    document = _document(file)
    try:
        names = {int(each["id"]): str(each["name"]) for each in document["categories"]}
        entries = {int(each["id"]): each for each in document["images"]}
        boxes, problems = _boxes(document["annotations"], names, entries, file.name)
        found, wrong = _images(entries, boxes, root)
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{file.name}: not a COCO file: {type(error).__name__} {error}"
        raise InputError(msg, hint="it needs images, annotations and categories") from error
    return LabelSet(root, found, tuple(problems + wrong))


def write_coco(file: Path, images: Sequence[ImageLabels]) -> None:
    """Write images and boxes as COCO JSON; categories are numbered from 1, sorted."""
    labels = sorted({box.label for image in images for box in image.boxes})
    ids = {label: number for number, label in enumerate(labels, start=1)}
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, start=1):
        for box in image.boxes:
            width, height = box.x_max - box.x_min, box.y_max - box.y_min
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": ids[box.label],
                    "bbox": [box.x_min, box.y_min, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    document = {
        "images": [
            {"id": number, "file_name": image.row.path}
            | ({"width": image.size[0], "height": image.size[1]} if image.size else {})
            for number, image in enumerate(images, start=1)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": label} for label, number in ids.items()],
    }
    write_text(file, json.dumps(document, ensure_ascii=False, indent=1) + "\n")


def _document(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        msg = f"{file}: not a readable JSON file ({error})"
        raise InputError(msg, hint="export the labels again") from error
    if not isinstance(document, dict):
        msg = f"{file.name}: a COCO file holds one object, got {type(document).__name__}"
        raise InputError(msg, hint="it needs images, annotations and categories")
    return document


def _boxes(
    annotations: Sequence[dict[str, Any]],
    names: dict[int, str],
    entries: dict[int, dict[str, Any]],
    file: str,
) -> tuple[dict[int, list[Box]], list[Problem]]:
    boxes: dict[int, list[Box]] = {number: [] for number in entries}
    problems = []
    for each in annotations:
        image, category = int(each["image_id"]), int(each["category_id"])
        where = f"annotation {each.get('id', '?')}"
        if image not in entries:
            problems.append(Problem(file, f"{where}: there is no image with id {image}: left out"))
        elif category not in names:
            problems.append(Problem(file, f"{where}: no category has id {category}: left out"))
        else:
            x, y, width, height = (float(value) for value in each["bbox"])
            boxes[image].append(Box(names[category], x, y, x + width, y + height))
    return boxes, problems


def _images(
    entries: dict[int, dict[str, Any]], boxes: dict[int, list[Box]], root: Path
) -> tuple[tuple[ImageLabels, ...], list[Problem]]:
    found: dict[str, ImageLabels] = {}
    problems = []
    for number, entry in entries.items():
        name = str(entry["file_name"])
        width, height = int(entry.get("width") or 0), int(entry.get("height") or 0)
        size = (width, height) if width > 0 and height > 0 else None
        kept, wrong = checked_boxes(boxes[number], size=size, file=name)
        problems += wrong
        if not (root / name).is_file():
            problems.append(Problem(name, f"no such image in {root.name or root}/"))
        if name in found:
            problems.append(Problem(name, "listed twice as an image: the boxes are joined"))
            kept = (*found[name].boxes, *kept)
        found[name] = ImageLabels(ManifestRow(name, main_label(kept), "", ""), kept, size)
    return tuple(found[name] for name in sorted(found)), problems
