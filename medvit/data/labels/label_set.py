"""What every label format is read into: images with their labels, boxes, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medvit.data.manifest import ManifestRow

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp"})


@dataclass(frozen=True, slots=True)
class Box:
    """A labelled rectangle in pixels, 0-based, half-open."""

    label: str
    x_min: float
    y_min: float
    x_max: float
    y_max: float


@dataclass(frozen=True, slots=True)
class ImageLabels:
    """What is known of one image.

    Attributes:
        row: As in a manifest; the path is relative to the folder of the set.
        boxes: In the order of the file, faulty ones left out.
        size: `(width, height)` as the label file says, None where it does not.
    """

    row: ManifestRow
    boxes: tuple[Box, ...] = ()
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that cannot be used as it is, by file and, in tables, line."""

    file: str
    message: str


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The images of a data set in the order of their paths.

    Attributes:
        root: Folder that paths start from.
        images: Every image, with or without labels; nothing is dropped.
        problems: Everything that was not taken over.
        soft_classes: Names of soft labels, in the order of `ManifestRow.soft`.
    """

    root: Path
    images: tuple[ImageLabels, ...]
    problems: tuple[Problem, ...] = ()
    soft_classes: tuple[str, ...] = field(default=())


def checked_boxes(
    boxes: Sequence[Box], *, size: tuple[int, int] | None, file: str
) -> tuple[tuple[Box, ...], list[Problem]]:
    """Return boxes with an area, cut at the border of the image, and what was wrong.

    A box that lies outside or has no area is left out; one that reaches over the border
    is cut; one that is there twice is kept once. Each is named.

    Examples:
        >>> kept, wrong = checked_boxes([Box("a", -2, 0, 4, 4)], size=(8, 8), file="f.xml")
        >>> kept[0].x_min, wrong[0].message
        (0.0, "box 1 'a' [-2, 0, 4, 4] reaches over the image of 8x8 pixels: cut")
    """
    kept: list[Box] = []
    problems = []
    for number, box in enumerate(boxes, start=1):
        numbers = ", ".join(f"{v:g}" for v in (box.x_min, box.y_min, box.x_max, box.y_max))
        name = f"box {number} {box.label!r} [{numbers}]"
        inside = box if size is None else _cut(box, size)
        of = "" if size is None else f" of {size[0]}x{size[1]} pixels"
        if not (box.x_min < box.x_max and box.y_min < box.y_max):
            problems.append(Problem(file, f"{name} has no area: left out"))
        elif not (inside.x_min < inside.x_max and inside.y_min < inside.y_max):
            problems.append(Problem(file, f"{name} lies outside the image{of}: left out"))
        elif inside in kept:
            problems.append(Problem(file, f"{name} is there twice: kept once"))
        else:
            if inside != box:
                problems.append(Problem(file, f"{name} reaches over the image{of}: cut"))
            kept.append(inside)
    return tuple(kept), problems


def _cut(box: Box, size: tuple[int, int]) -> Box:
    width, height = size
    return Box(
        box.label,
        *(
            float(min(max(value, 0), width)) if axis == "x" else float(min(max(value, 0), height))
            for axis, value in (
                ("x", box.x_min),
                ("y", box.y_min),
                ("x", box.x_max),
                ("y", box.y_max),
            )
        ),
    )


def image_files(root: Path) -> list[str]:
    """Return the images below a folder by their names, sorted, hidden ones left out."""
    found = (path for path in root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    names = (path.relative_to(root) for path in found if path.is_file())
    return sorted(n.as_posix() for n in names if not any(p.startswith(".") for p in n.parts))


def main_label(boxes: Sequence[Box]) -> str:
    """Return the label that most boxes carry; of equals the one that comes first."""
    counts: dict[str, int] = {}
    for box in boxes:
        counts[box.label] = counts.get(box.label, 0) + 1
    return max(counts, key=lambda label: counts[label], default="")
