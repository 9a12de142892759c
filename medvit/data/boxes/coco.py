"""COCO JSON: labelled boxes, and predicted boxes as a list of results or a whole file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medvit.data.boxes.json_records import Record, read_json, records
from medvit.data.boxes.labelled import (
    LabelledBoxes,
    PredictedBox,
    TrueBox,
    names_of,
    unambiguous,
)
from medvit.errors import InputError


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predicted boxes, and sentences on what is odd about them."""

    boxes: tuple[PredictedBox, ...]
    notes: tuple[str, ...]


def read_coco(path: Path) -> LabelledBoxes:
    """Read `images`, `categories` and `annotations`; images are ordered by id, as are classes.

    Raises:
        InputError: If the file cannot be read, an id is unknown or there twice, or a box is
            none; names the place in the file.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        msg = f"{path.name}: labelled boxes are an object with images, categories, annotations"
        raise InputError(msg, hint="a list of results belongs into --predictions")
    images = _by_id(path, content, "images")
    classes = _by_id(path, content, "categories")
    file_names = {key: str(each.values.get("file_name", key)) for key, each in images.items()}
    names = {key: str(each.values.get("name", key)) for key, each in classes.items()}
    _check_names(path, names, "categories")
    image_of = {key: index for index, key in enumerate(images)}
    class_of = {key: index for index, key in enumerate(classes)}
    boxes = tuple(
        _true_box(record, image_of, class_of)
        for record in _by_id(path, content, "annotations").values()
    )
    aliases = unambiguous({image_of[key]: names_of(name) for key, name in file_names.items()})
    return LabelledBoxes(
        path.name,
        images=tuple(file_names.values()),
        classes=tuple(names.values()),
        boxes=boxes,
        image_ids={**aliases, **image_of},
        class_ids={**{names[key]: index for key, index in class_of.items()}, **class_of},
    )


def read_predictions(path: Path, truth: LabelledBoxes) -> Predictions:
    """Read predicted boxes: a list of `image_id, category_id, bbox, score`, or a whole file.

    A whole file has `images` and `categories` of its own; its images are found by file name
    and its classes by name. Boxes of classes that the truth does not know are left out.

    Raises:
        InputError: If the file cannot be read, an image is unknown, or a box or score is none.
    """
    content = read_json(path)
    images, classes = dict(truth.image_ids), dict(truth.class_ids)
    entries, name = content, ""
    names: dict[Hashable, str] = {}
    if isinstance(content, dict):
        entries, name = content.get("annotations"), "annotations"
        images = _own_images(path, content, truth) if "images" in content else images
        names = _own_names(path, content) if "categories" in content else names
        classes = {key: truth.class_ids.get(own, -1) for key, own in names.items()} or classes
    unknown: Counter[str] = Counter()
    boxes: list[PredictedBox] = []
    for record in records(path, entries, name):
        image = record.key("image_id")
        if image not in images:
            hint = "images go by the ids or the file names of the annotations"
            msg = f"image_id must be an image of {truth.file}"
            raise record.refused(msg, image, hint=hint)
        label = record.key("category_id")
        box, score = record.box(), record.number("score")
        if label in classes and classes[label] >= 0:
            boxes.append(PredictedBox(images[image], classes[label], box, score))
        else:
            unknown[names.get(label, str(label))] += 1
    return Predictions(tuple(boxes), _notes(path, truth, boxes, unknown))


def _true_box(
    record: Record, image_of: Mapping[Hashable, int], class_of: Mapping[Hashable, int]
) -> TrueBox:
    image, label = record.key("image_id"), record.key("category_id")
    if image not in image_of:
        msg = "image_id must be the id of one of the images"
        raise record.refused(msg, image)
    if label not in class_of:
        msg = "category_id must be the id of one of the categories"
        raise record.refused(msg, label)
    box = record.box()
    area = record.number("area") if "area" in record.values else box[2] * box[3]
    return TrueBox(
        image_of[image], class_of[label], box, area, is_crowd=bool(record.values.get("iscrowd"))
    )


def _by_id(path: Path, content: dict[str, Any], name: str) -> dict[Hashable, Record]:
    """Return the records of a list by id, sorted; whole numbers before texts."""
    if name not in content:
        msg = f"{path.name}: {name!r} is missing; found {', '.join(content) or 'nothing'}"
        raise InputError(msg, hint="labelled boxes need images, categories and annotations")
    found: dict[Hashable, Record] = {}
    for number, record in enumerate(records(path, content[name], name)):
        has_id = "id" in record.values or name != "annotations"
        key = record.key("id") if has_id else -1 - number
        if key in found:
            msg = f"the id is that of {found[key].place} too"
            raise record.refused(msg, key)
        found[key] = record
    if not found and name != "annotations":
        msg = f"{path.name}: {name} is empty"
        raise InputError(msg, hint="labelled boxes need images, categories and annotations")
    return dict(sorted(found.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def _check_names(path: Path, names: Mapping[Hashable, str], where: str) -> None:
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        msg = f"{path.name}: {where} must have names of their own, {twice[0]!r} is there twice"
        raise InputError(msg, hint="give each category one id and one name")


def _own_images(path: Path, content: dict[str, Any], truth: LabelledBoxes) -> dict[Hashable, int]:
    found: dict[Hashable, int] = {}
    for key, record in _by_id(path, content, "images").items():
        called = names_of(str(record.values.get("file_name", key)))
        places = [truth.image_ids[name] for name in called if name in truth.image_ids]
        if places:
            found[key] = places[0]
    return found


def _own_names(path: Path, content: dict[str, Any]) -> dict[Hashable, str]:
    return {
        key: str(record.values.get("name", key))
        for key, record in _by_id(path, content, "categories").items()
    }


def _notes(
    path: Path, truth: LabelledBoxes, boxes: list[PredictedBox], unknown: Counter[str]
) -> tuple[str, ...]:
    notes = []
    if unknown:
        names = ", ".join(sorted(unknown))
        total = sum(unknown.values())
        notes.append(f"{path.name}: {truth.file} has no class {names} (boxes not counted: {total})")
    silent = len(truth.images) - len({box.image for box in boxes})
    if silent:
        notes.append(f"{path.name}: {silent} of {len(truth.images)} images have no box")
    return tuple(notes)
