"""Score a registered model on labelled images: manifest -> images -> labels -> figures -> page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from medvit.data.manifest import Manifest, ManifestRow, read_manifest
from medvit.errors import InputError, ModelError
from medvit.metrics.label_figures import JudgedImage, measure_labels
from medvit.report.classification_report import prediction_csv
from medvit.workspace import Workspace
from pipelines.config import Settings
from pipelines.evaluating.classification import (
    Split,
    judged,
    kept_files,
    training_counts,
    true_label,
)
from pipelines.evaluating.keeping import floor_result, heading, keep

if TYPE_CHECKING:
    from torch import nn

    from medvit.models.weights import ModelCard

CHUNK = 256
"""Images held at a time, so that memory does not grow with the manifest."""

Progress = Callable[[int, int], None]
"""Told how many images are judged, and of how many."""


class ModelSettings(Settings):
    """Which model is scored on which images, and how intervals are drawn."""

    model: str
    manifest: Path
    split: Split = "test"
    root: Path | None = Field(None, description="what paths are relative to; else the manifest")
    rounds: int = Field(1000, ge=40, description="draws of groups for the 95 % intervals")
    seed: int = Field(0, ge=0)
    floor: float | None = Field(None, ge=0, le=1, description="lowest accuracy that will do")


def run_model(
    settings: ModelSettings, *, workspace: Workspace, progress: Progress | None = None
) -> dict[str, Any]:
    """Judge the labelled images of a split, score them, and keep it all in a run folder.

    Returns:
        The figures of the contract, their intervals, `model`, `warnings`, `run`, `report`.

    Raises:
        ModelError: If there is no such model, it was altered, or it names no classes of images.
        InputError: If the split has no labelled image, a label is none of the model's, or an
            image cannot be read.
        ConfigError: If the manifest breaks its rules.
    """
    net, card = _load(settings.model, workspace)
    manifest = read_manifest(settings.manifest)
    rows = _labelled(manifest, settings, card)
    root = settings.root or settings.manifest.parent
    images = _judge(net, card, rows=rows, root=root, progress=progress)
    figures = measure_labels(
        images,
        rounds=settings.rounds,
        seed=settings.seed,
        train_counts=card.training.get("class_counts") or training_counts(manifest),
    )
    above = heading(f"{card.reference} on {settings.manifest.name}, split {settings.split}", ())
    files = [("Model", f"{card.reference}, SHA-256 {card.weights_sha256[:16]}")]
    files.append(("Manifest", f"{settings.manifest.name}, split {settings.split}"))
    return keep(
        workspace,
        "evaluate model",
        settings=settings,
        figures={
            **figures.answer(),
            "model": card.reference,
            **floor_result("accuracy", figures.scores["accuracy"], settings.floor),
        },
        files={
            **kept_files(figures, above, files),
            "predictions.csv": prediction_csv(figures),
        },
        about={
            "models": {card.reference: card.weights_sha256},
            "counts": {"images": len(images)},
            "warnings": [],
        },
    )


def _load(name: str, workspace: Workspace) -> tuple[nn.Module, ModelCard]:
    from medvit.models.weights import load_model
    from medvit.registry.registry import find_model

    version = find_model(name, models=workspace.models)
    if version.task == "nodule":
        msg = f"{version.reference} finds nodules in CT and has no labels of images to be scored"
        hint = "medvit scan SCANS --out OUT --write luna16, then medvit evaluate froc"
        raise ModelError(msg, hint=hint)
    if version.task != "defect":
        msg = f"{version.reference} is a {version.task}: it gives features and no labels"
        raise ModelError(msg, hint="train a classifier from it with medvit train")
    return load_model(version.folder)


def _labelled(
    manifest: Manifest, settings: ModelSettings, card: ModelCard
) -> list[tuple[ManifestRow, str]]:
    rows = [(row, true_label(manifest, row)) for row in manifest.of(settings.split)]
    rows = [(row, label) for row, label in rows if label]
    name = settings.manifest.name
    if not rows:
        msg = f"{name}: split {settings.split} has no labelled image to be scored"
        raise InputError(msg, hint="choose another --split, or label images")
    strange = sorted({label for _, label in rows} - {*card.classes})
    if strange:
        msg = f"{name}: {card.reference} does not know the labels {', '.join(strange)}"
        raise InputError(msg, hint=f"its classes are {', '.join(card.classes)}")
    return rows


def _judge(
    net: nn.Module,
    card: ModelCard,
    *,
    rows: Sequence[tuple[ManifestRow, str]],
    root: Path,
    progress: Progress | None,
) -> list[JudgedImage]:
    """Return what the model says of each image; chunk by chunk."""
    from medvit.data.surface import load_images
    from medvit.learn.classify import predict_logits
    from medvit.models.heads.boxes import BoxDetector
    from pipelines.evaluating.box_labels import judge_by_boxes

    if isinstance(net, BoxDetector):
        return judge_by_boxes(net, card, rows=rows, root=root, progress=progress)
    how = card.preprocessing
    temperature = float(card.calibration.get("temperature", 1.0))
    images: list[JudgedImage] = []
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        pixels = load_images(
            root,
            [row.path for row, _ in part],
            side_px=int(how["side_px"]),
            channels=how.get("channels", "grey"),
        )
        logits = predict_logits(net, pixels).double()
        if logits.shape[1:] != (len(card.classes),):
            msg = f"{card.reference}: {len(card.classes)} scores an image are expected, got "
            msg += f"{tuple(logits.shape[1:])}"
            raise ModelError(msg, hint="check the model with medvit models verify")
        probability, place = (logits / temperature).softmax(dim=1).max(dim=1)
        said = zip(part, place.tolist(), probability.tolist(), strict=True)
        images += [judged(row, label, card.classes[at], sure) for (row, label), at, sure in said]
        if progress is not None:
            progress(len(images), len(rows))
    return images
