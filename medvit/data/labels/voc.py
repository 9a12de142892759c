"""Pascal VOC: one XML file an image; pixels are counted from 1 and both ends belong to a box."""

from __future__ import annotations

import xml.etree.ElementTree as ET
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
from medvit.errors import InputError

FORBIDDEN = b"<!DOCTYPE"
"""Document types can hold entities that swell to gigabytes; VOC needs none."""


def read_voc(root: Path, images: Path | None = None) -> LabelSet:
    """Return the boxes of all XML files below a folder, and the images they belong to.

    An image is found by the stem of the XML file, which people rename together with the
    image, not by its `<filename>`. The label of an image is that of most of its boxes.

    Args:
        images: Folder of the images; by default `root` and its neighbours are searched.

    Raises:
        InputError: If there is no XML file.
    """
    files = sorted(root.rglob("*.xml"))
    if not files:
        msg = f"{root}: no VOC XML file in this folder"
        raise InputError(msg, hint="name the folder of the .xml files")
    base = images or (root if image_files(root) else root.parent)
    by_stem = {Path(name).stem: name for name in image_files(base)}
    found, problems = {}, []
    for file in files:
        try:
            boxes, size = _read_file(file)
        except (ET.ParseError, ValueError, OSError) as error:
            problems.append(Problem(file.name, f"not a VOC annotation: {error}"))
            continue
        name = by_stem.get(file.stem)
        if name is None:
            problems.append(Problem(file.name, f"no image {file.stem}.* below {base.name}/"))
            continue
        kept, wrong = checked_boxes(boxes, size=size, file=file.name)
        problems += wrong
        found[name] = ImageLabels(ManifestRow(name, main_label(kept), "", ""), kept, size)
    bare = sorted(set(by_stem.values()) - set(found))
    problems += [Problem(name, "no annotation: taken as unlabelled") for name in bare]
    found |= {name: ImageLabels(ManifestRow(name, "", "", "")) for name in bare}
    return LabelSet(base, tuple(found[name] for name in sorted(found)), tuple(problems))


def write_voc(folder: Path, images: Sequence[ImageLabels]) -> None:
    """Write one XML file an image.

    Raises:
        ValueError: If the size of an image is not known.
    """
    for image in images:
        if image.size is None:
            msg = f"{image.row.path}: VOC needs the size of the image, which is not known"
            raise ValueError(msg)
        top = ET.Element("annotation")
        ET.SubElement(top, "filename").text = Path(image.row.path).name
        size = ET.SubElement(top, "size")
        for key, value in zip(("width", "height", "depth"), (*image.size, 1), strict=True):
            ET.SubElement(size, key).text = str(value)
        for box in image.boxes:
            _write_box(top, box)
        ET.indent(top)
        target = folder / f"{Path(image.row.path).stem}.xml"
        target.write_bytes(ET.tostring(top, encoding="utf-8", xml_declaration=True))


def _write_box(top: ET.Element, box: Box) -> None:
    entry = ET.SubElement(top, "object")
    ET.SubElement(entry, "name").text = box.label
    corners = ET.SubElement(entry, "bndbox")
    values = (box.x_min + 1, box.y_min + 1, box.x_max, box.y_max)
    for key, value in zip(("xmin", "ymin", "xmax", "ymax"), values, strict=True):
        ET.SubElement(corners, key).text = f"{value:g}"


def _read_file(file: Path) -> tuple[list[Box], tuple[int, int] | None]:
    raw = file.read_bytes()
    if FORBIDDEN in raw:
        msg = "it declares a document type, which VOC files do not need"
        raise ValueError(msg)
    top = ET.fromstring(raw)
    if top.tag != "annotation":
        msg = f"its first element is <{top.tag}>, <annotation> expected"
        raise ValueError(msg)
    width, height = (int(top.findtext(f"size/{key}") or 0) for key in ("width", "height"))
    boxes = [_read_box(entry) for entry in top.iter("object")]
    return boxes, (width, height) if width > 0 and height > 0 else None


def _read_box(entry: ET.Element) -> Box:
    label = (entry.findtext("name") or "").strip()
    texts = [entry.findtext(f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")]
    if not label or None in texts:
        msg = f"an object needs a name and a bndbox with four corners, got {label!r} {texts}"
        raise ValueError(msg)
    x_min, y_min, x_max, y_max = (float(text or 0) for text in texts)
    return Box(label, x_min - 1, y_min - 1, x_max, y_max)
