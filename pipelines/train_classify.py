"""Train an image classifier from a manifest.

Manifest -> images in memory -> a network, tuned -> temperature on val -> scores on test
-> ModelVersion, and a run folder to look at.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medvit.workspace import Workspace
from pipelines.classify_config import ClassifyConfig
from pipelines.classify_pictures import (
    BEST_WEIGHTS,
    keep_weights,
    picture_answers,
    picture_batches,
    picture_data,
)
from pipelines.classify_start import Start, start_anew, start_from_classes
from pipelines.classify_tune import compute_head, forgetting_rows, grow_head, prepare_tuning
from pipelines.defect_card import card_text
from pipelines.training_config import check_batch, find_manifest
from pipelines.training_run import close_run, images_sha256, open_run, register

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from torch import Tensor
    from torch.utils.data import Sampler

    from medvit.data.labelled import LabelledImages
    from medvit.data.manifest import Manifest
    from medvit.learn.classify import ClassifyObjective
    from medvit.learn.fit import FitResult, FitSettings, Progress
    from medvit.learn.tuning.tuned import Tuned
    from medvit.registry.lineage import Seen

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that is read and built before a run folder is opened."""

    start: Start
    tuned: Tuned
    splits: dict[str, LabelledImages]
    before: list[int]


def run(
    config: ClassifyConfig, workspace: Workspace, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Train, calibrate on val, score the last epoch on test, and register the model.

    Returns:
        `{"run", "model", "metrics"}`.

    Raises:
        ConfigError: If there are fewer than two classes, or too few images.
    """
    from medvit.registry.registry import version_folder

    next(version_folder(workspace.models, config.model.name))
    prepared = _prepare(config, workspace)
    start, splits = prepared.start, prepared.splits
    folder = open_run(workspace, "train", config)
    picture_data(folder, config, splits, classes=start.classes)
    result = _learn(prepared, config=config, folder=folder, progress=progress)
    temperature = _calibrate(start, splits["val"])
    metrics = _score(prepared, temperature=temperature, folder=folder)
    metrics |= {"loss": result.loss, "epochs": result.epochs, "cut_short": result.cut_short}
    counts = {name: len(split.paths) for name, split in splits.items()}
    card = _card(config, start, splits["train"], counts=counts)
    card |= {"calibration": {"temperature": temperature}, "metrics": metrics}
    saved = register(
        workspace,
        start.net,
        name=config.model.name,
        card=card,
        readme=card_text(card),
        seen=_seen(config),
    )
    keep_weights(folder, start.net, saved)
    return close_run(folder, config, card=saved, result=result, counts=counts)


def _prepare(config: ClassifyConfig, workspace: Workspace) -> Prepared:
    from medvit.data.manifest import read_manifest

    file, root = find_manifest(config.data)
    manifest = read_manifest(file)
    start, splits = _start(config, workspace, manifest, root)
    before = _answers(start, splits["test"]) if start.old_classes else []
    if start.old_classes:
        grow_head(start, config, splits)
    tuned = prepare_tuning(start, config)
    return Prepared(start, tuned, splits, before)


def _start(
    config: ClassifyConfig, workspace: Workspace, manifest: Manifest, root: Path
) -> tuple[Start, dict[str, LabelledImages]]:
    from medvit.data.labelled import load_labelled, training_classes

    labels = tuple(sorted({row.label for row in manifest.of("train") if row.label}))
    kept = (
        start_from_classes(config, workspace, labels=labels) if config.tuning.keep_classes else None
    )
    classes = kept.classes if kept else training_classes(manifest)
    how: dict[str, Any] = {"side_px": config.data.side_px, "channels": config.data.channels}
    splits = {
        name: load_labelled(manifest, name, root=root, classes=classes, **how) for name in SPLITS
    }
    if config.tuning.method != "prototype":
        count, batch = len(splits["train"].paths), config.train.batch_size
        check_batch(count, batch_size=batch, file=manifest.file)
    return kept or start_anew(config, workspace, classes=classes), splits


def _seen(config: ClassifyConfig) -> Seen:
    """Return marks of the images that were trained on."""
    from medvit.data.manifest import read_manifest
    from medvit.registry.lineage import seen_images

    file, root = find_manifest(config.data)
    rows = [row for row in read_manifest(file).of("train") if row.label or row.soft]
    return seen_images(root, ((row.path, row.group) for row in rows))


def _answers(start: Start, split: LabelledImages) -> list[int]:
    from medvit.learn.classify import predict_logits

    if not split.paths:
        return []
    return [int(index) for index in predict_logits(start.net, split.images).argmax(dim=1)]


def _learn(
    prepared: Prepared, *, config: ClassifyConfig, folder: Path, progress: Progress | None
) -> FitResult:
    """Train what is to be trained, or compute what is to be computed."""
    from medvit.learn.fit import FitResult

    if prepared.tuned.trains:
        return _fit(prepared, config=config, folder=folder, progress=progress)
    from torch.nn import functional as F  # noqa: N812

    from medvit.learn.classify import predict_logits
    from medvit.learn.validation import held_out_figures
    from medvit.report.training_pictures import write_results

    started = time.monotonic()
    start, train, val = prepared.start, prepared.splits["train"], prepared.splits["val"]
    if not start.old_classes:
        compute_head(start, config, prepared.splits)
    loss = float(F.cross_entropy(predict_logits(start.net, train.images), train.labels))
    row = {"epoch": 0.0, "train/loss": loss}
    if val.paths:
        row |= held_out_figures(predict_logits(start.net, val.images), val.labels)
    write_results(folder, [row])
    device = next(start.net.parameters()).device.type
    return FitResult(
        0, cut_short=False, loss=loss, seconds=time.monotonic() - started, device=device
    )


def _fit(
    prepared: Prepared, *, config: ClassifyConfig, folder: Path, progress: Progress | None
) -> FitResult:
    from torch.utils.data import DataLoader

    from medvit.data.augment.surface import SurfaceViews, ViewSettings
    from medvit.data.surface import LabelledViews
    from medvit.learn.fit import fit
    from medvit.learn.validation import EpochFigures
    from medvit.report.training_pictures import write_results

    net, classes = prepared.start.net, prepared.start.classes
    train, val = prepared.splits["train"], prepared.splits["val"]
    views = SurfaceViews(ViewSettings(**config.views.model_dump()))
    batches = DataLoader(
        LabelledViews(train.images, train.targets, views=views, seed=config.train.seed),
        batch_size=config.train.batch_size,
        sampler=_order(train, config),
        drop_last=True,
    )
    settings = _fit_settings(config)
    objective, observers = _objective(prepared, config=config, settings=settings)
    picture_batches(folder, batches, objective, classes=classes, seed=config.train.seed)
    figures = EpochFigures(net, images=val.images, labels=val.labels, best=folder / BEST_WEIGHTS)
    result = fit(
        objective,
        batches,
        settings=settings,
        folder=folder,
        progress=progress,
        observers=[*prepared.tuned.observers, *observers, figures],
    )
    write_results(folder, figures.rows)
    return result


def _fit_settings(config: ClassifyConfig) -> FitSettings:
    from medvit.learn.fit import FitSettings
    from medvit.learn.tuning.lr import scaled_lr

    own = config.train.model_dump(exclude={"batch_size", "lr_scaling"})
    rule, batch = config.train.lr_scaling, config.train.batch_size
    own["lr"] = scaled_lr(config.train.lr, batch_size=batch, rule=rule)
    return FitSettings(**own)


def _objective(
    prepared: Prepared, *, config: ClassifyConfig, settings: FitSettings
) -> tuple[ClassifyObjective, list[Callback]]:
    from medvit.data.augment.mixing import MixSettings
    from medvit.learn.classify import TunedObjective
    from medvit.learn.longtail.losses import build_loss
    from medvit.learn.longtail.margins import DeferredWeights, MarginLoss

    counts = prepared.splits["train"].counts(classes=len(prepared.start.classes))
    if prepared.start.old_classes:
        counts = counts.clamp(min=1)  # an old class may be kept without an image
    loss = build_loss(config.loss.name, counts, label_smoothing=config.loss.label_smoothing)
    objective = TunedObjective(
        prepared.start.net,
        loss=loss,
        tuned=prepared.tuned,
        lr=settings.lr,
        mixing=MixSettings(**config.mixing.model_dump()),
    )
    return objective, [DeferredWeights(loss)] if isinstance(loss, MarginLoss) else []


def _order(train: LabelledImages, config: ClassifyConfig) -> Sampler[tuple[int, int]]:
    from medvit.data.surface import EpochOrder
    from medvit.learn.longtail.orders import ClassOrder

    name, seed = config.sampler.name, config.train.seed
    if name == "none":
        return EpochOrder(len(train.paths), seed=seed)
    return ClassOrder(train.labels, name=name, epochs=config.train.epochs, seed=seed)


def _calibrate(start: Start, val: LabelledImages) -> float:
    """Return the temperature; that of the parent, or 1, where val does not show all classes."""
    from medvit.learn.classify import fit_temperature, predict_logits

    shown = len(val.labels.unique())  # type: ignore[no-untyped-call]
    if not val.paths or (start.old_classes and shown < len(start.classes)):
        return start.temperature
    return fit_temperature(predict_logits(start.net, val.images), val.labels)


def _score(prepared: Prepared, *, temperature: float, folder: Path) -> dict[str, Any]:
    """Return figures on images that neither training nor calibration saw."""
    from torch.nn import functional as F  # noqa: N812

    from medvit.learn.classify import predict_logits
    from medvit.metrics.calibration import expected_calibration_error
    from medvit.metrics.classification import score_classification

    start, test = prepared.start, prepared.splits["test"]
    held_out = "test" if test.paths else "val"
    split = prepared.splits[held_out]
    if not split.paths:
        return {"n": 0}
    logits: Tensor = predict_logits(start.net, split.images) / temperature
    picture_answers(folder, split, logits, classes=start.classes, name=held_out)
    if not test.paths:
        return {"n": 0}
    confidence, guess = logits.softmax(dim=1).max(dim=1)
    truth = [start.classes[index] for index in test.labels.tolist()]
    predicted = [start.classes[index] for index in guess.tolist()]
    correct = (guess == test.labels).numpy()
    metrics = {
        **score_classification(truth, predicted, classes=start.classes),
        "nll": float(F.cross_entropy(logits, test.labels)),
        "ece": expected_calibration_error(confidence.numpy(), correct, equal_mass=True),
    }
    if start.old_classes:
        names = start.classes[: start.old_classes]
        pairs = (prepared.before, guess.tolist(), test.labels.tolist())
        metrics["forgetting"] = forgetting_rows(*pairs, names=names)
    return metrics


def _card(
    config: ClassifyConfig, start: Start, train: LabelledImages, *, counts: dict[str, int]
) -> dict[str, Any]:
    data = config.data
    return {
        "task": "defect",
        "architecture": {"builder": "defect_classifier", "arguments": start.arguments},
        "classes": start.classes,
        "preprocessing": {"side_px": data.side_px, "channels": data.channels, "range": [0, 1]},
        "training": {
            **config.model_dump(mode="json"),
            "data_sha256": images_sha256(train.images, train.paths),
            "images": counts,
        },
        "parents": start.parents,
    }
