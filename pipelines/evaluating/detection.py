"""Score predicted boxes: COCO JSON or VOC XML -> matches -> average precision -> page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medvit.data.boxes.coco import read_coco, read_predictions
from medvit.data.boxes.labelled import LabelledBoxes, names_of
from medvit.data.boxes.voc import read_voc
from medvit.data.manifest import read_manifest
from medvit.errors import InputError
from medvit.metrics.detection_figures import (
    ClassFigures,
    DetectionFigures,
    Draws,
    measure_detection,
)
from medvit.report.detection_report import (
    class_csv,
    detection_page,
    precision_csv,
    precision_plot,
)
from medvit.workspace import Workspace
from pipelines.config import Settings
from pipelines.evaluating.keeping import REPORT, floor_result, heading, keep


class DetectionSettings(Settings):
    """Which files are scored, by which rules, and how intervals are drawn."""

    predictions: Path
    annotations: Path
    rules: Literal["coco", "voc2007", "voc2012"] = "coco"
    manifest: Path | None = Field(None, description="groups of images that are drawn together")
    rounds: int = Field(1000, ge=40, description="draws of groups for the 95 % intervals")
    seed: int = Field(0, ge=0)
    floor: float | None = Field(None, ge=0, le=1, description="lowest mAP50 that will do")


def run_detection(settings: DetectionSettings, *, workspace: Workspace) -> dict[str, Any]:
    """Score predicted boxes, and keep figures, plot, page and tables in a run folder.

    Returns:
        The figures of the contract, their intervals, `by_size`, `warnings`, `run`, `report`.

    Raises:
        InputError: If a file cannot be read or breaks its format, an image is unknown, or no
            true box counts.
    """
    annotations = settings.annotations
    truth = read_voc(annotations) if annotations.is_dir() else read_coco(annotations)
    notes = _check_truth(truth, rules=settings.rules)
    predictions = read_predictions(settings.predictions, truth)
    draws = Draws(_groups(settings.manifest, truth), settings.rounds, settings.seed)
    figures = measure_detection(truth, predictions.boxes, rules=settings.rules, draws=draws)
    notes = [*notes, *predictions.notes]
    above = heading(f"Boxes of {settings.predictions.name}", notes)
    files = [("Predictions", settings.predictions.name), ("Annotations", truth.file)]
    return keep(
        workspace,
        "evaluate detection",
        settings=settings,
        figures={**_answer(figures), **floor_result("map50", figures.map50, settings.floor)},
        files={
            REPORT: detection_page(figures, above, files),
            "precision.svg": precision_plot(figures) + "\n",
            "classes.csv": class_csv(figures),
            "precision.csv": precision_csv(figures),
        },
        about={
            "counts": {
                "images": figures.images,
                "true_boxes": len(truth.boxes),
                "predicted_boxes": len(predictions.boxes),
            },
            "warnings": notes,
        },
    )


def _check_truth(truth: LabelledBoxes, *, rules: str) -> list[str]:
    """Return what is to be said of the true boxes.

    Raises:
        InputError: If none of them counts.
    """
    difficult = sum(box.is_difficult for box in truth.boxes)
    is_coco = rules == "coco"
    if not any(not box.is_crowd and (is_coco or not box.is_difficult) for box in truth.boxes):
        found = f"found 0 among {len(truth.boxes)}"
        msg = f"{truth.file}: average precision needs a box that counts, {found}"
        hint = "a crowd never counts, a difficult object not under the rules of VOC"
        raise InputError(msg, hint=hint)
    if difficult and is_coco:
        note = f"{truth.file}: {difficult} difficult objects count: COCO knows no such flag"
        return [f"{note} (--rules voc2012 leaves them out)"]
    return []


def _groups(manifest: Path | None, truth: LabelledBoxes) -> NDArray[np.intp]:
    """Return the number of the group of each image; without a manifest each is its own."""
    if manifest is None:
        return np.arange(len(truth.images))
    group_of = {
        truth.image_ids[name]: row.group or row.path
        for row in read_manifest(manifest).rows
        for name in reversed(names_of(row.path))
        if name in truth.image_ids
    }
    unknown = [name for at, name in enumerate(truth.images) if at not in group_of]
    if unknown:
        msg = f"{manifest.name}: {len(unknown)} images have no row, the first is {unknown[0]}"
        raise InputError(msg, hint="give a manifest with a row for each annotated image")
    names = [group_of[at] for at in range(len(truth.images))]
    return np.unique(names, return_inverse=True)[1].astype(np.intp)


def _answer(figures: DetectionFigures) -> dict[str, Any]:
    return {
        "map50": figures.map50,
        "map50_95": figures.map50_95,
        "per_class": {each.name: _class(each) for each in figures.classes},
        "rules": figures.rules,
        "map75": figures.map75,
        "map50_interval": figures.map50_interval,
        "map50_95_interval": figures.map50_95_interval,
        "mean_recall": figures.recall,
        "by_size": figures.by_size,
        "n_images": figures.images,
        "n_groups": figures.groups,
        "rounds": figures.rounds,
        "seed": figures.seed,
    }


def _class(each: ClassFigures) -> dict[str, Any]:
    return {
        "ap50": each.score.ap50,
        "ap50_95": each.score.ap50_95,
        "ap50_interval": each.ap50_interval,
        "ap50_95_interval": each.ap50_95_interval,
        "true_boxes": each.score.truths,
        "predicted_boxes": each.score.predicted,
    }
