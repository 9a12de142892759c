"""Train a detector of boxes on images.

Annotations -> images with boxes -> a detector -> thresholds and calibration on val -> scores
on test -> ModelVersion, and a run folder to look at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medvit.workspace import Workspace
from pipelines.classifying.pictures import BEST_WEIGHTS, keep_weights
from pipelines.detecting.card import detector_text
from pipelines.detecting.config import DetectConfig
from pipelines.training.config import check_batch
from pipelines.training.image_model import FOREIGN
from pipelines.training.run import (
    close_run,
    images_sha256,
    open_run,
    register,
)
from pipelines.training.weights import hub_of, load_weights

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from medvit.data.box_images import BoxImages
    from medvit.learn.fit import FitResult, FitSettings, Progress
    from medvit.models.heads.boxes import BoxDetector
    from medvit.registry.lineage import Seen
    from pipelines.detecting.data import BoxSplits


@dataclass(slots=True)
class Start:
    """A detector and how a model card builds it again.

    Attributes:
        net: The detector.
        arguments: Of `defect_detector`.
        parents: The model its backbone came from, if any.
    """

    net: BoxDetector
    arguments: dict[str, Any]
    parents: tuple[str, ...] = ()


def run(
    config: DetectConfig, workspace: Workspace, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Train, choose thresholds on val, score the last epoch on test, and register the model.

    Returns:
        `{"run", "model", "metrics"}`.

    Raises:
        ConfigError: If data and config do not fit.
        InputError: If an image or an annotation cannot be read.
    """
    from medvit.registry.registry import version_folder
    from pipelines.detecting.data import read_splits
    from pipelines.detecting.pictures import picture_splits

    next(version_folder(workspace.models, config.model.name))
    splits = read_splits(config.data, multiple_px=max(config.model.strides_px))
    train = splits.images["train"]
    check_batch(len(train.rows), batch_size=config.train.batch_size, file=config.data.annotations)
    start = start_detector(config, workspace, classes=splits.classes)
    with open_run(workspace, "train", config) as folder:
        picture_splits(folder, config, splits)
        result = _fit(start.net, splits, config=config, folder=folder, progress=progress)
        chosen = _choose(start.net, splits, folder=folder)
        metrics = _score(start.net, splits, folder=folder)
        metrics |= {"loss": result.loss, "epochs": result.epochs, "cut_short": result.cut_short}
        counts = {name: len(images.rows) for name, images in splits.images.items()}
        card = _card(config, start, splits, counts=counts) | chosen | {"metrics": metrics}
        saved = register(
            workspace,
            start.net,
            name=config.model.name,
            card=card,
            readme=detector_text(card),
            seen=_seen(splits),
        )
        keep_weights(folder, start.net, saved)
        counts["problems"] = len(splits.problems)
        return close_run(folder, config, card=saved, result=result, counts=counts)


def start_detector(
    config: DetectConfig, workspace: Workspace, *, classes: tuple[str, ...]
) -> Start:
    """Return a detector whose backbone has the weights that the config names.

    Raises:
        ConfigError: If the weights do not fit the backbone.
        ModelError: If a network or its weights are not found.
    """
    import torch

    from medvit.learn.tuning.frozen import train_only
    from medvit.models.builders import defect_detector
    from medvit.models.vit import draw_weights

    model, seed = config.model, config.train.seed
    arguments: dict[str, Any] = {
        "backbone": model.backbone,
        "classes": len(classes),
        "in_channels": 3 if config.data.channels == "colour" else 1,
        "width": model.width,
        "strides_px": list(model.strides_px),
        "hub": hub_of(model.backbone),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = defect_detector(**arguments)
    if not model.backbone.startswith(FOREIGN):
        draw_weights(net.backbone, generator=torch.Generator().manual_seed(seed))
    card = load_weights(net.backbone, model, workspace)
    if config.tuning.method == "head":
        train_only(net, chosen=lambda name: not name.startswith("backbone."))
    return Start(net, arguments, (card.reference,) if card else ())


def _fit(
    net: BoxDetector,
    splits: BoxSplits,
    *,
    config: DetectConfig,
    folder: Path,
    progress: Progress | None,
) -> FitResult:
    from medvit.learn.boxes import BoxObjective
    from medvit.learn.fit import fit
    from medvit.report.training_pictures import write_results
    from pipelines.detecting.pictures import picture_box_batches
    from pipelines.detecting.validation import BoxFigures

    settings, train = _fit_settings(config), config.train
    batches = _batches(splits.images["train"], config)
    picture_box_batches(folder, batches, classes=splits.classes)
    figures = BoxFigures(
        splits.images["val"],
        classes=splits.classes,
        every=train.validate_every,
        best=folder / BEST_WEIGHTS,
    )
    objective = BoxObjective(net, lr=train.lr, backbone_lr=train.lr * train.backbone_lr)
    result = fit(
        objective,
        batches,
        settings=settings,
        folder=folder,
        progress=progress,
        observers=[figures],
    )
    write_results(folder, figures.rows)
    return result


def _batches(images: BoxImages, config: DetectConfig) -> DataLoader[Any]:
    from medvit.data.augment.boxes import BoxViews, BoxViewSettings
    from medvit.data.box_images import box_batches

    views, train = BoxViews(BoxViewSettings(**config.views.model_dump())), config.train
    return box_batches(images, views=views, batch_size=train.batch_size, seed=train.seed)


def _fit_settings(config: DetectConfig) -> FitSettings:
    from medvit.learn.fit import FitSettings

    return FitSettings(
        **config.train.model_dump(exclude={"batch_size", "backbone_lr", "validate_every"})
    )


def _choose(net: BoxDetector, splits: BoxSplits, *, folder: Path) -> dict[str, Any]:
    """Return thresholds and calibration by split val, and picture what it shows."""
    from pipelines.detecting.pictures import picture_found
    from pipelines.detecting.validation import (
        USUAL_THRESHOLD,
        answers_of,
        best_thresholds,
        calibration_of,
    )

    val = splits.images["val"]
    if not val.rows:
        usual = dict.fromkeys(splits.classes, USUAL_THRESHOLD)
        return {"thresholds": usual, "calibration": {}}
    answers = answers_of(net, val, classes=splits.classes)
    thresholds = best_thresholds(answers)
    picture_found(folder, val, answers, thresholds=thresholds, name="val")
    return {"thresholds": thresholds, "calibration": calibration_of(answers, val)}


def _score(net: BoxDetector, splits: BoxSplits, *, folder: Path) -> dict[str, Any]:
    """Return figures on images that neither training nor thresholds saw."""
    from medvit.models.card import CURVES
    from pipelines.detecting.pictures import picture_precision
    from pipelines.detecting.validation import answers_of, curves_of, figures_of

    name = "test" if any(map(len, splits.images["test"].boxes)) else "val"
    images = splits.images[name]
    if not any(map(len, images.boxes)):
        return {"n": 0}
    answers = answers_of(net, images, classes=splits.classes)
    figures = figures_of(answers, images)
    picture_precision(folder, figures, name=name)
    if name == "val":
        return {"n": 0}
    return {
        "n": figures.images,
        "map50": figures.map50,
        "map50_95": figures.map50_95,
        "map50_interval": figures.map50_interval,
        "per_class": {
            each.name: {
                "ap50": each.score.ap50,
                "ap50_95": each.score.ap50_95,
                "true_boxes": each.score.truths,
            }
            for each in figures.classes
        },
        CURVES: curves_of(answers, split=name),
    }


def _seen(splits: BoxSplits) -> Seen:
    """Return marks of the images that were trained on; one without a group has its path as one."""
    from medvit.registry.lineage import seen_images

    rows = splits.images["train"].rows
    named = ((row.path, "" if row.group == row.path else row.group) for row in rows)
    return seen_images(splits.root, named)


def _card(
    config: DetectConfig, start: Start, splits: BoxSplits, *, counts: dict[str, int]
) -> dict[str, Any]:
    data, train = config.data, splits.images["train"]
    return {
        "task": "defect",
        "architecture": {"builder": "defect_detector", "arguments": start.arguments},
        "classes": splits.classes,
        "preprocessing": {
            "side_px": data.side_px,
            "image_px": train.longest_px,
            "channels": data.channels,
            "range": [0, 1],
        },
        "training": {
            **config.model_dump(mode="json"),
            "data_sha256": images_sha256(train.images, [row.path for row in train.rows]),
            "images": dict(counts),
        },
        "parents": start.parents,
    }
