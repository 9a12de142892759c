"""Which label format lies at a path, and its reader."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from medvit.data.labels.coco import read_coco
from medvit.data.labels.folders import read_folders
from medvit.data.labels.graded import read_graded
from medvit.data.labels.label_set import ImageLabels, LabelSet, Problem, image_files
from medvit.data.labels.masks import read_masks
from medvit.data.labels.voc import read_voc
from medvit.data.labels.yolo import CLASSES_FILE, read_yolo
from medvit.data.manifest import read_manifest
from medvit.errors import InputError

Reader = Callable[[Path, Path | None], LabelSet]


def read_labels(
    source: Path,
    *,
    format_: str = "auto",
    images: Path | None = None,
    may_straddle: bool = False,
) -> LabelSet:
    """Return the labels at a path.

    Args:
        format_: A name of `READERS`, or `auto`.
        images: Folder of the images where it is not beside the labels.
        may_straddle: Accept a manifest whose groups lie on two sides.

    Raises:
        InputError: If the path is missing, or its format is not known.
        ConfigError: If a manifest breaks a rule.
    """
    if not source.exists():
        msg = f"{source}: no such file or folder"
        raise InputError(msg, hint="check the path")
    name = sniff(source) if format_ == "auto" else format_
    if name == "manifest":
        return _manifest(source, images, may_straddle=may_straddle)
    return READERS[name](source, images)


def sniff(source: Path) -> str:
    """Return the name of the format at a path.

    Raises:
        InputError: If it is none of them.
    """
    name = _sniff_file(source) if source.is_file() else _sniff_folder(source)
    if name:
        return name
    msg = f"{source}: no labels and no images found in this folder"
    raise InputError(msg, hint=f"formats: {', '.join(sorted(READERS))}")


def _sniff_file(file: Path) -> str:
    if file.suffix.lower() == ".json":
        return "coco"
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        header = next(csv.reader(stream), [])
    return "graded" if "prob" in header else "manifest"


def _sniff_folder(folder: Path) -> str:
    if (folder / CLASSES_FILE).is_file():
        return "yolo"
    if (folder / "masks").is_dir():
        return "masks"
    if any(folder.rglob("*.xml")):
        return "voc"
    if len(list(folder.glob("*.json"))) == 1 and not any(folder.glob("*/")):
        return "coco"
    return "folders" if image_files(folder) else ""


def _manifest(source: Path, images: Path | None, *, may_straddle: bool = False) -> LabelSet:
    manifest = read_manifest(source, may_straddle=may_straddle)
    root = images or source.parent
    missing = [row.path for row in manifest.rows if not (root / row.path).is_file()]
    problems = tuple(Problem(path, f"no such image in {root.name or root}/") for path in missing)
    rows = tuple(ImageLabels(row) for row in manifest.rows)
    return LabelSet(root, rows, problems, manifest.soft_classes)


def _coco(source: Path, images: Path | None) -> LabelSet:
    return read_coco(
        next(iter(sorted(source.glob("*.json")))) if source.is_dir() else source, images
    )


def _masks(source: Path, images: Path | None) -> LabelSet:
    return read_masks(images or source / "images", source / "masks")


READERS: dict[str, Reader] = {
    "manifest": _manifest,
    "folders": lambda source, _images: read_folders(source),
    "coco": _coco,
    "voc": read_voc,
    "yolo": lambda source, _images: read_yolo(source),
    "masks": _masks,
    "graded": read_graded,
}
