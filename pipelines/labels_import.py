"""Labels made elsewhere in, a manifest and COCO boxes out; and out again in other formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from medvit.atomic import write_text
from medvit.data.labels.coco import write_coco
from medvit.data.labels.formats import read_labels
from medvit.data.labels.label_set import ImageLabels, LabelSet, Problem
from medvit.data.labels.voc import write_voc
from medvit.data.labels.yolo import write_yolo
from medvit.data.manifest import ManifestRow, write_manifest
from medvit.errors import InputError, NothingToDoError
from medvit.labels.dataset import POINT_COLUMNS
from medvit.workspace import Workspace
from pipelines.config import Settings
from pipelines.labelling.sr import export_sr
from pipelines.labelling.store import (
    Entered,
    Progress,
    enter_images,
    enter_scans,
    settled_images,
    settled_nodules,
)
from pipelines.run_record import write_run_record
from pipelines.split import path_from

ImportFormat = Literal[
    "auto", "manifest", "folders", "coco", "voc", "yolo", "masks", "graded", "luna16"
]
ExportFormat = Literal["manifest", "coco", "voc", "yolo", "luna16", "sr"]

SOMEBODY = "import"
"""The reader of labels that nobody signs."""


class ImportSettings(Settings):
    """Which labels are read, the manifest that is written, and whose decisions they become."""

    source: Path
    format: ImportFormat = "auto"
    images: Path | None = None
    out: Path | None = None
    reader: str = SOMEBODY


class ExportSettings(Settings):
    """Which labels are written where; those that readers agree on without `source`."""

    source: Path | None = None
    out: Path
    format: ExportFormat
    images: Path | None = None


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What was read.

    Attributes:
        boxes_file: COCO JSON beside the manifest; None without boxes.
        entered: What became of it in the store.
    """

    manifest: Path
    boxes_file: Path | None
    images: int
    labelled: int
    boxes: int
    problems: tuple[Problem, ...]
    run: Path
    entered: Entered

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
            "new_cases": self.entered.cases,
            "new_decisions": self.entered.decisions,
        }


def run(
    settings: ImportSettings, workspace: Workspace, *, progress: Progress | None = None
) -> ImportResult:
    """Read labels, write a manifest with COCO boxes where there are any, and enter the store.

    Raises:
        InputError: If the labels cannot be read.
        NothingToDoError: If they name no image.
        StoreError: If the store fails, or refuses a label.
    """
    if settings.format == "luna16":
        return _import_scans(settings, workspace, progress)
    labels = read_labels(settings.source, format_=settings.format, images=settings.images)
    if not labels.images:
        msg = f"{settings.source}: the labels name no image"
        raise NothingToDoError(msg, hint="check --format and --images")
    out = _manifest_of(settings)
    images = _moved(labels, out)
    boxes = sum(len(image.boxes) for image in images)
    boxes_file = out.with_suffix(".coco.json") if boxes else None
    folder = workspace.new_run("labels-import")
    write_manifest(out, [image.row for image in images], labels.soft_classes)
    if boxes_file is not None:
        write_coco(boxes_file, images)
    entered = enter_images(labels, workspace, reader=settings.reader, progress=progress)
    labelled = sum(1 for image in images if image.row.label)
    counts = (len(images), labelled, boxes)
    return _recorded(
        settings, ImportResult(out, boxes_file, *counts, labels.problems, folder, entered)
    )


def _import_scans(
    settings: ImportSettings, workspace: Workspace, progress: Progress | None
) -> ImportResult:
    from medvit.data.annotations.centres import ANNOTATIONS, collect_centres

    source = settings.source
    root = settings.images or (source if source.is_dir() else source.parent)
    table = source / ANNOTATIONS if source.is_dir() else source
    collected = collect_centres(root, annotations=table)
    patients = collected.patients
    out = _manifest_of(settings)
    rows = [
        ManifestRow(path_from(out, case.root / case.source), "", "", patients.get(name, ""))
        for name, case in collected.cases.items()
    ]
    absent = sorted({m.scan for m in collected.nodules if m.scan not in collected.cases})
    problems = tuple(Problem(table.name, f"scan {name} is not here") for name in absent)
    folder = workspace.new_run("labels-import")
    write_manifest(out, rows)
    entered = enter_scans(collected, workspace, reader=settings.reader, progress=progress)
    counts = (len(rows), len({mark.scan for mark in collected.nodules} - {*absent}), 0)
    return _recorded(settings, ImportResult(out, None, *counts, problems, folder, entered))


def _manifest_of(settings: ImportSettings) -> Path:
    return settings.out or Path(f"{settings.source.resolve().stem}-labels.csv")


def _recorded(settings: ImportSettings, result: ImportResult) -> ImportResult:
    counts = {"images": result.images, "labelled": result.labelled, "boxes": result.boxes}
    record = {
        "command": "labels import",
        "state": "done",
        "device": "cpu",
        "settings": settings.model_dump(mode="json"),
        "counts": counts | asdict(result.entered),
        "failures": [asdict(problem) for problem in result.problems],
    }
    write_run_record(result.run, record)
    return result


def export(settings: ExportSettings, workspace: Workspace) -> dict[str, Any]:
    """Write labels in another format: those of a file, or those that readers agree on.

    Raises:
        InputError: If the format needs boxes or image sizes that are not there.
        NothingToDoError: If there is no label to write, or none that the format can hold.
        StoreError: If the store cannot be read.
    """
    out = settings.out
    if settings.format in ("luna16", "sr"):
        return _export_nodules(settings, workspace)
    if settings.source is None:
        labels = settled_images(workspace)
    else:
        labels = read_labels(settings.source, images=settings.images)
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
            write(out, _by_name(labels) if settings.source is None else labels.images)
    except ValueError as error:
        msg = f"{settings.source or 'the store'}: {error}"
        raise InputError(msg, hint="export as coco or manifest instead") from error
    boxes = sum(len(image.boxes) for image in labels.images)
    return {"out": str(out), "images": len(labels.images), "boxes": boxes}


def _export_nodules(settings: ExportSettings, workspace: Workspace) -> dict[str, Any]:
    if settings.source is not None:
        msg = (
            f"{settings.format} is written from the store, where readers decide about scans, "
            "not --from a file"
        )
        raise InputError(msg, hint="leave --from out")
    if settings.format == "sr":
        return export_sr(settings.out, workspace)
    rows = settled_nodules(workspace)
    lines = [
        ",".join(POINT_COLUMNS),
        *(",".join([name, *(f"{v:.4f}" for v in numbers)]) for name, *numbers in rows),
    ]
    write_text(settings.out, "\n".join(lines) + "\n")
    scans = len({name for name, *_ in rows})
    return {"out": str(settings.out), "images": scans, "boxes": len(rows)}


def _by_name(labels: LabelSet) -> Sequence[ImageLabels]:
    """Return images under their file names, as formats have them that lie beside images.

    Raises:
        InputError: If two have the same name.
    """
    names = [Path(image.row.path).name for image in labels.images]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"{len(twice)} file names are there twice, such as {twice[0]}"
        raise InputError(msg, hint="export as coco or manifest, which keep folders")
    return [
        replace(image, row=replace(image.row, path=name))
        for image, name in zip(labels.images, names, strict=True)
    ]


def _moved(labels: LabelSet, out: Path) -> Sequence[ImageLabels]:
    return [
        replace(image, row=replace(image.row, path=path_from(out, labels.root / image.row.path)))
        for image in labels.images
    ]
