"""Labels made elsewhere in, a manifest and COCO boxes out; and out again in other formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from medvit.data.labels.coco import write_coco
from medvit.data.labels.formats import read_labels
from medvit.data.labels.label_set import ImageLabels, LabelSet, Problem
from medvit.data.labels.voc import write_voc
from medvit.data.labels.yolo import write_yolo
from medvit.data.manifest import write_manifest
from medvit.errors import InputError, NothingToDoError
from medvit.workspace import Workspace
from pipelines.config import Settings
from pipelines.run_record import write_run_record
from pipelines.split import path_from

ImportFormat = Literal["auto", "manifest", "folders", "coco", "voc", "yolo", "masks", "graded"]
ExportFormat = Literal["manifest", "coco", "voc", "yolo"]


class ImportSettings(Settings):
    """Which labels are read, and the manifest that is written."""

    source: Path
    format: ImportFormat = "auto"
    images: Path | None = None
    out: Path | None = None


class ExportSettings(Settings):
    """Which labels are written where."""

    source: Path
    out: Path
    format: ExportFormat
    images: Path | None = None


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What was read.

    Attributes:
        boxes_file: COCO JSON beside the manifest; None without boxes.
    """

    manifest: Path
    boxes_file: Path | None
    images: int
    labelled: int
    boxes: int
    problems: tuple[Problem, ...]
    run: Path

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "manifest": str(self.manifest),
            "annotations": None if self.boxes_file is None else str(self.boxes_file),
            "images": self.images,
            "labelled": self.labelled,
            "boxes": self.boxes,
            "problems": [asdict(problem) for problem in self.problems],
            "run": str(self.run),
        }


def run(settings: ImportSettings, workspace: Workspace) -> ImportResult:
    """Read labels and write a manifest, with COCO boxes beside it where there are any.

    Raises:
        InputError: If the labels cannot be read.
        NothingToDoError: If they name no image.
    """
    labels = read_labels(settings.source, format_=settings.format, images=settings.images)
    if not labels.images:
        msg = f"{settings.source}: the labels name no image"
        raise NothingToDoError(msg, hint="check --format and --images")
    out = settings.out or Path(f"{settings.source.resolve().stem}-labels.csv")
    images = _moved(labels, out)
    boxes = sum(len(image.boxes) for image in images)
    boxes_file = out.with_suffix(".coco.json") if boxes else None
    folder = workspace.new_run("labels-import")
    write_manifest(out, [image.row for image in images], labels.soft_classes)
    if boxes_file is not None:
        write_coco(boxes_file, images)
    labelled = sum(1 for image in images if image.row.label)
    result = ImportResult(out, boxes_file, len(images), labelled, boxes, labels.problems, folder)
    record = {"command": "labels import", "state": "done", "device": "cpu"}
    counts = {"images": len(images), "labelled": labelled, "boxes": boxes}
    failures = [asdict(problem) for problem in labels.problems]
    written = settings.model_dump(mode="json")
    write_run_record(
        folder, {**record, "settings": written, "counts": counts, "failures": failures}
    )
    return result


def export(settings: ExportSettings) -> dict[str, Any]:
    """Write labels in another format.

    Raises:
        InputError: If the format needs boxes or image sizes that are not there.
    """
    labels = read_labels(settings.source, images=settings.images)
    out = settings.out
    if settings.format in ("voc", "yolo"):
        out.mkdir(parents=True, exist_ok=True)
    try:
        if settings.format == "manifest":
            rows = [image.row for image in _moved(labels, out)]
            write_manifest(out, rows, labels.soft_classes)
        elif settings.format == "coco":
            write_coco(out, _moved(labels, out))
        else:
            write = write_voc if settings.format == "voc" else write_yolo
            write(out, labels.images)
    except ValueError as error:
        msg = f"{settings.source}: {error}"
        raise InputError(msg, hint="export as coco or manifest instead") from error
    boxes = sum(len(image.boxes) for image in labels.images)
    return {"out": str(out), "images": len(labels.images), "boxes": boxes}


def _moved(labels: LabelSet, out: Path) -> Sequence[ImageLabels]:
    return [
        replace(image, row=replace(image.row, path=path_from(out, labels.root / image.row.path)))
        for image in labels.images
    ]
