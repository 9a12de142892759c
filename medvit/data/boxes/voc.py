"""VOC XML: one file an image, boxes by corners that count pixels from 1 and include both."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree as Xml

from medvit.data.boxes.labelled import LabelledBoxes, TrueBox, Xywh, names_of, unambiguous
from medvit.errors import InputError

CORNERS = ("xmin", "ymin", "xmax", "ymax")
ANNOTATIONS = "Annotations"


def read_voc(folder: Path) -> LabelledBoxes:
    """Read the XML files of a folder, or of `Annotations` in it; boxes become half-open, 0-based.

    Images and classes are in the order of their names. Classes are those of the boxes, never
    of the file names.

    Raises:
        InputError: If there is no XML file, or one is no VOC annotation; names file and object.
    """
    inner = folder / ANNOTATIONS
    files = sorted((inner if inner.is_dir() else folder).glob("*.xml"))
    if not files:
        msg = f"{folder}: no XML file in it or in {ANNOTATIONS}"
        raise InputError(msg, hint="give the folder with the VOC annotations")
    roots = [_root(file) for file in files]
    objects = [root.findall("object") for root in roots]
    labels = [
        [_text(file, at, each, "name") for at, each in enumerate(own, start=1)]
        for file, own in zip(files, objects, strict=True)
    ]
    classes = sorted({label for own in labels for label in own})
    boxes = tuple(
        _box(file, at, each, image=image, label=classes.index(label))
        for image, (file, own) in enumerate(zip(files, objects, strict=True))
        for at, (each, label) in enumerate(zip(own, labels[image], strict=True), start=1)
    )
    names = [
        root.findtext("filename") or file.stem for root, file in zip(roots, files, strict=True)
    ]
    called = {
        index: (*names_of(name.strip()), file.stem)
        for index, (name, file) in enumerate(zip(names, files, strict=True))
    }
    return LabelledBoxes(
        folder.name,
        images=tuple(names),
        classes=tuple(classes),
        boxes=boxes,
        image_ids=unambiguous(called),
        class_ids={name: index for index, name in enumerate(classes)},
    )


def _root(file: Path) -> Xml.Element:
    try:
        content = file.read_bytes()
        if b"<!ENTITY" in content:
            msg = f"{file.name}: entities are not expanded, found <!ENTITY"
            raise InputError(msg, hint="write the texts themselves")
        root = Xml.fromstring(content)
    except (OSError, Xml.ParseError) as error:
        msg = f"{file.name}: not a readable XML file ({error})"
        raise InputError(msg, hint="correct the file, or take it out of the folder") from error
    if root.tag != "annotation":
        msg = f"{file.name}: a VOC annotation begins with <annotation>, found <{root.tag}>"
        raise InputError(msg, hint="take the file out of the folder")
    return root


def _box(file: Path, at: int, element: Xml.Element, *, image: int, label: int) -> TrueBox:
    corners = element.find("bndbox")
    if corners is None:
        msg = f"{file.name}, object {at}: <bndbox> is missing"
        raise InputError(msg, hint="correct the file")
    x_min, y_min, x_max, y_max = (_number(file, at, corners, name) for name in CORNERS)
    if x_max < x_min or y_max < y_min:
        found = f"{x_min:g}, {y_min:g} to {x_max:g}, {y_max:g}"
        msg = f"{file.name}, object {at}: a box goes from xmin, ymin to xmax, ymax, got {found}"
        raise InputError(msg, hint="correct the file")
    xywh: Xywh = (x_min - 1, y_min - 1, x_max - x_min + 1, y_max - y_min + 1)
    is_difficult = (element.findtext("difficult") or "0").strip() not in ("", "0")
    return TrueBox(image, label, xywh, xywh[2] * xywh[3], is_difficult=is_difficult)


def _number(file: Path, at: int, element: Xml.Element, name: str) -> float:
    text = _text(file, at, element, name)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        msg = f"{file.name}, object {at}: {name} must be a finite number, got {text!r}"
        raise InputError(msg, hint="correct the file")
    return number


def _text(file: Path, at: int, element: Xml.Element, name: str) -> str:
    text = (element.findtext(name) or "").strip()
    if not text:
        msg = f"{file.name}, object {at}: <{name}> is missing or empty"
        raise InputError(msg, hint="correct the file")
    return text
