"""Score predicted labels: CSV and manifest -> pairs -> figures -> page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from medvit.data.manifest import Manifest, ManifestRow, read_manifest
from medvit.errors import InputError
from medvit.metrics.label_csv import PredictedLabel, plain_path, read_labels
from medvit.metrics.label_figures import JudgedImage, LabelFigures, measure_labels
from medvit.report.classification_report import (
    class_csv,
    classification_page,
    confusion_plot,
    image_csv,
)
from medvit.report.evaluation_page import Heading
from medvit.workspace import Workspace
from pipelines.config import Settings
from pipelines.evaluating.keeping import REPORT, floor_result, heading, keep

Split = Literal["train", "val", "test"]


class ClassificationSettings(Settings):
    """Which files are scored, and how intervals are drawn."""

    predictions: Path
    manifest: Path
    split: Split | None = Field(None, description="without it, all splits that were predicted")
    rounds: int = Field(1000, ge=40, description="draws of groups for the 95 % intervals")
    seed: int = Field(0, ge=0)
    floor: float | None = Field(None, ge=0, le=1, description="lowest accuracy that will do")


def run_classification(settings: ClassificationSettings, *, workspace: Workspace) -> dict[str, Any]:
    """Score predicted labels, and keep figures, picture, page and tables in a run folder.

    Returns:
        The figures of the contract, their intervals, `warnings`, `run`, `report`.

    Raises:
        InputError: If a file or a value is missing or wrong, or labelled images of a split
            that was predicted lack a prediction.
        ConfigError: If the manifest breaks its rules.
    """
    predicted = {each.path: each for each in read_labels(settings.predictions)}
    manifest = read_manifest(settings.manifest)
    images, notes = _pairs(settings, manifest, predicted)
    figures = measure_labels(
        images,
        rounds=settings.rounds,
        seed=settings.seed,
        train_counts=training_counts(manifest),
    )
    above = heading(f"Labels of {settings.predictions.name}", notes)
    files = [("Predictions", settings.predictions.name), ("Manifest", settings.manifest.name)]
    return keep(
        workspace,
        "evaluate classification",
        settings=settings,
        figures={
            **figures.answer(),
            **floor_result("accuracy", figures.scores["accuracy"], settings.floor),
        },
        files=kept_files(figures, above, files),
        about={"counts": {"images": len(images)}, "warnings": notes},
    )


def kept_files(
    figures: LabelFigures, above: Heading, files: Sequence[tuple[str, str]]
) -> dict[str, str]:
    """Return page, picture and tables of an evaluation by their names."""
    return {
        REPORT: classification_page(figures, above, files),
        "confusion.svg": confusion_plot(figures) + "\n",
        "classes.csv": class_csv(figures),
        "images.csv": image_csv(figures),
    }


def true_label(manifest: Manifest, row: ManifestRow) -> str:
    """Return the label of a row: its own, or the most probable of its soft ones, or nothing."""
    if row.label or not row.soft:
        return row.label
    return manifest.soft_classes[row.soft.index(max(row.soft))]


def training_counts(manifest: Manifest) -> dict[str, float]:
    """Return the labelled images of each class in split train."""
    labels = [true_label(manifest, row) for row in manifest.of("train")]
    return dict(Counter(label for label in labels if label))


def judged(row: ManifestRow, label: str, predicted: str, probability: float) -> JudgedImage:
    """Return a row of a manifest with what a model says of it; without group it is its own."""
    return JudgedImage(row.path, label, predicted, probability, row.group or row.path)


def _pairs(
    settings: ClassificationSettings, manifest: Manifest, predicted: dict[str, PredictedLabel]
) -> tuple[list[JudgedImage], list[str]]:
    """Return the labelled images of the splits that were predicted, and what is odd."""
    labelled = [(row, true_label(manifest, row)) for row in manifest.rows]
    labelled = [(row, label) for row, label in labelled if label]
    splits = {row.split for row, _ in labelled if plain_path(row.path) in predicted}
    if settings.split is not None:
        splits = {str(settings.split)}
    wanted = [(row, label) for row, label in labelled if row.split in splits]
    found = [(row, label, predicted.get(plain_path(row.path))) for row, label in wanted]
    missing = [row for row, _, each in found if each is None]
    if not wanted or len(missing) == len(wanted):
        raise _nothing_common(settings, predicted, wanted=len(wanted))
    if missing:
        msg = (
            f"{settings.predictions.name}: {len(missing)} of {len(wanted)} labelled images of "
            f"{_named(splits)} have no prediction, the first is {missing[0].path}"
        )
        raise InputError(msg, hint="predict whole splits, or name one with --split")
    images = [judged(row, label, p.label, p.probability) for row, label, p in found if p]
    return images, _notes(settings, manifest, predicted, splits=splits, images=images)


def _notes(
    settings: ClassificationSettings,
    manifest: Manifest,
    predicted: dict[str, PredictedLabel],
    *,
    splits: set[str],
    images: Sequence[JudgedImage],
) -> list[str]:
    name, notes = settings.predictions.name, []
    known = {plain_path(row.path) for row in manifest.rows}
    strange = [each for each in predicted.values() if each.path not in known]
    if strange:
        notes.append(
            f"{name}, line {strange[0].line}: {strange[0].path} is not in "
            f"{settings.manifest.name} (rows not counted: {len(strange)})"
        )
    unscored = len(predicted) - len(strange) - len(images)
    if unscored:
        notes.append(f"{name}: images without label or of other splits, not counted: {unscored}")
    labels = {image.label for image in images}
    never = sorted({image.predicted for image in images} - labels)
    if never:
        notes.append(f"{name}: labels that no scored image has: {', '.join(never)}")
    everywhere = {row.split for row in manifest.rows if true_label(manifest, row)}
    if settings.split is None and splits != everywhere:
        notes.append(f"{name}: scored on {_named(splits)}, which is all that was predicted")
    return notes


def _nothing_common(
    settings: ClassificationSettings, predicted: dict[str, PredictedLabel], *, wanted: int
) -> InputError:
    first = next(iter(predicted), "nothing")
    msg = (
        f"{settings.predictions.name}: none of its {len(predicted)} images is one of the "
        f"{wanted} labelled images to be scored; it begins with {first}"
    )
    hint = f"write paths as {settings.manifest.name} does, and check --split"
    return InputError(msg, hint=hint)


def _named(splits: set[str]) -> str:
    return "split " + ", ".join(sorted(split or "(empty)" for split in splits))
