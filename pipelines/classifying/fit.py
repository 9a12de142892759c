"""The training itself: batches, loss, order of visiting, and what follows on the head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.classifying.config import ClassifyConfig
from pipelines.classifying.noisy import build_learner, choose_network, placed_batches
from pipelines.classifying.pictures import BEST_WEIGHTS, picture_batches
from pipelines.classifying.prepare import Prepared

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from torch import Tensor, nn
    from torch.utils.data import Sampler

    from medvit.data.labelled import LabelledImages
    from medvit.learn.classify import ClassifyObjective
    from medvit.learn.fit import FitResult, FitSettings, Progress

HEAD_FOLDER = "head"


def fit_classifier(
    prepared: Prepared, *, config: ClassifyConfig, folder: Path, progress: Progress | None
) -> FitResult:
    """Train the classifier in place; a run that was interrupted goes on in its folder.

    Raises:
        ConfigError: If the loss is no longer a number.
    """
    if prepared.noise is not None:
        result = _fit_two(prepared, config=config, folder=folder, progress=progress)
    else:
        result = _fit_one(prepared, config=config, folder=folder, progress=progress)
    if config.loss.post_hoc_tau:
        _adjust(prepared, config=config, folder=folder)
    return result


def _fit_one(
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
    shown = LabelledViews(train.images, train.targets, views=views, seed=config.train.seed)
    batches = DataLoader(
        shown,
        batch_size=config.train.batch_size,
        sampler=_order(train, config),
        drop_last=True,
    )
    settings = fit_settings(config)
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
    rows = figures.rows
    if config.decoupled.epochs and not result.cut_short:
        result, more = _fit_head(prepared, shown, config, folder=folder, before=result)
        rows = rows + more
    write_results(folder, rows)
    return result


def _fit_two(
    prepared: Prepared, *, config: ClassifyConfig, folder: Path, progress: Progress | None
) -> FitResult:
    """Train two networks on labels that may be wrong; the better one is the classifier."""
    from medvit.learn.fit import fit
    from medvit.learn.noise.two_nets import EpochStart, Pair
    from medvit.learn.validation import EpochFigures
    from medvit.report.training_pictures import write_results

    start, train, val = prepared.start, prepared.splits["train"], prepared.splits["val"]
    if prepared.noise is None or prepared.second is None:
        msg = "two networks are trained on labels whose noise was looked at, got none"
        raise ValueError(msg)
    settings = fit_settings(config)
    pair = Pair((start.net, prepared.second.start.net), prepared.tuned, settings.lr)
    learner = build_learner(config, pair, prepared.noise)
    learner.train()
    figures = EpochFigures(
        start.net, images=val.images, labels=val.labels, best=folder / BEST_WEIGHTS
    )
    result = fit(
        learner,
        placed_batches(config, train),
        settings=settings,
        folder=folder,
        progress=progress,
        observers=[EpochStart(learner, train.images), figures],
    )
    write_results(folder, figures.rows)
    choose_network(start, pair, val, prepared.noise)
    return result


def _fit_head(
    prepared: Prepared,
    shown: object,
    config: ClassifyConfig,
    *,
    folder: Path,
    before: FitResult,
) -> tuple[FitResult, list[dict[str, float]]]:
    """Draw the head anew and train it alone, classes shown alike (Kang 2019, 1910.09217)."""
    import torch
    from torch.utils.data import DataLoader

    from medvit.learn.classify import TunedObjective
    from medvit.learn.fit import FitSettings, fit
    from medvit.learn.longtail.losses import build_loss
    from medvit.learn.longtail.orders import ClassOrder
    from medvit.learn.tuning.methods import prepare
    from medvit.learn.validation import EpochFigures
    from medvit.models.vit import draw_weights

    net, train, val = prepared.start.net, prepared.splits["train"], prepared.splits["val"]
    own, seed = config.decoupled, config.train.seed
    tuned = prepare(net, "head")
    draw_weights(net.head, generator=torch.Generator().manual_seed(seed))
    counts = train.counts(classes=len(prepared.start.classes))
    objective = TunedObjective(
        net, loss=build_loss("cross_entropy", counts), tuned=tuned, lr=own.lr
    )
    order = ClassOrder(train.labels, name="balanced", seed=seed)
    batches: DataLoader[Any] = DataLoader(
        shown,  # type: ignore[arg-type]
        batch_size=config.train.batch_size,
        sampler=order,
        drop_last=True,
    )
    figures = EpochFigures(net, images=val.images, labels=val.labels, best=folder / BEST_WEIGHTS)
    settings = FitSettings(own.epochs, own.lr, warmup_epochs=0.0, seed=seed)
    stage = folder / HEAD_FOLDER
    result = fit(objective, batches, settings=settings, folder=stage, observers=[figures])
    rows = [{**row, "epoch": row["epoch"] + before.epochs} for row in figures.rows]
    seconds = before.seconds + result.seconds
    return replace(result, epochs=before.epochs + result.epochs, seconds=seconds), rows


def fit_settings(config: ClassifyConfig) -> FitSettings:
    """Return how long and how fast the config trains."""
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

    counts = _counts(prepared)
    loss = build_loss(config.loss.name, counts, label_smoothing=config.loss.label_smoothing)
    objective = TunedObjective(
        prepared.start.net,
        loss=loss,
        tuned=prepared.tuned,
        lr=settings.lr,
        mixing=MixSettings(**config.mixing.model_dump()),
    )
    return objective, [DeferredWeights(loss)] if isinstance(loss, MarginLoss) else []


def _counts(prepared: Prepared) -> Tensor:
    counts = prepared.splits["train"].counts(classes=len(prepared.start.classes))
    if prepared.start.old_classes:
        counts = counts.clamp(min=1)  # an old class may be kept without an image
    return counts


def _order(train: LabelledImages, config: ClassifyConfig) -> Sampler[tuple[int, int]]:
    from medvit.data.surface import EpochOrder
    from medvit.learn.longtail.orders import ClassOrder

    name, seed = config.sampler.name, config.train.seed
    if name == "none":
        return EpochOrder(len(train.paths), seed=seed)
    return ClassOrder(train.labels, name=name, epochs=config.train.epochs, seed=seed)


def _adjust(prepared: Prepared, *, config: ClassifyConfig, folder: Path) -> None:
    """Take the log of the class priors off the head's bias, also of the best weights."""
    from safetensors.torch import load_file, save_file

    from medvit.learn.longtail.losses import adjust_bias

    tau = config.loss.post_hoc_tau
    counts = prepared.noise.noisy.prior if prepared.noise is not None else _counts(prepared)
    head: nn.Module = prepared.start.net.head
    before = head.bias.detach().clone()  # type: ignore[operator]
    adjust_bias(head, counts, tau=tau)
    best = folder / BEST_WEIGHTS
    if best.is_file():
        tensors = load_file(best)
        tensors["head.bias"] = tensors["head.bias"] + (head.bias.detach() - before).cpu()  # type: ignore[operator]
        save_file(tensors, best)
