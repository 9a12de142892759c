"""Pretrain a backbone on images without learning from their labels.

Manifest -> images in memory -> views of whole batches -> a loss without labels -> ModelVersion,
and a report whether it paid.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medvit.errors import GateRefusedError
from medvit.workspace import Workspace
from pipelines.pretraining.card import backbone_card, backbone_text
from pipelines.pretraining.image_config import PretrainConfig
from pipelines.pretraining.objective import StartedBackbone, build_objective, start_backbone
from pipelines.pretraining.payoff import Labelled, check_report, find_labelled, write_payoff
from pipelines.run_record import write_run_record
from pipelines.training.config import check_batch, find_manifest
from pipelines.training.run import close_run, images_sha256, open_run, register

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from medvit.data.manifest import Manifest
    from medvit.learn.fit import FitResult, Progress
    from medvit.learn.pretraining.surface_batches import TimedLoader
    from medvit.learn.pretraining.watch import PretrainingWatch

__all__ = ["PretrainConfig", "run"]

WATCHED = 256
"""Training images whose embeddings are looked at after each epoch."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that is read and built before a run folder is opened."""

    images: NDArray[np.uint8]
    paths: tuple[str, ...]
    labelled: Labelled
    start: StartedBackbone
    objective: nn.Module
    loader: TimedLoader


def run(
    config: PretrainConfig, workspace: Workspace, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Pretrain, register the backbone, and return `{"run", "model", "metrics"}`.

    A run that was interrupted goes on when it is asked for again.

    Raises:
        ConfigError: If the manifest has too few training images for one batch, or the method
            does not take the backbone, or the report lacks labels.
        GateRefusedError: If embeddings collapsed and `pretrain.on_collapse` is stop.
    """
    from medvit.registry.registry import version_folder

    next(version_folder(workspace.models, config.model.name))
    prepared = _prepare(config, workspace)
    with open_run(workspace, "pretrain", config) as folder:
        result, watch = _fit(prepared, config=config, folder=folder, progress=progress)
        _check_collapse(watch, folder, config)
        backbone = prepared.start.net
        paid = write_payoff(config, workspace, backbone, labelled=prepared.labelled, folder=folder)
        card = backbone_card(config, result, watch=watch, payoff=paid)
        card |= {"architecture": prepared.start.architecture, "parents": prepared.start.parents}
        card["training"]["data_sha256"] = images_sha256(prepared.images, prepared.paths)
        card["metrics"]["loader_wait_share"] = _waited(prepared.loader, result)
        readme = backbone_text(config, card)
        saved = register(workspace, backbone, name=config.model.name, card=card, readme=readme)
        counts = {"images": len(prepared.paths), "labelled": len(prepared.labelled)}
        return close_run(folder, config, card=saved, result=result, counts=counts)


def _prepare(config: PretrainConfig, workspace: Workspace) -> Prepared:
    from medvit.data.manifest import read_manifest
    from medvit.data.surface import load_grey_images

    file, root = find_manifest(config.data)
    manifest = read_manifest(file)
    rows = manifest.of("train")
    batch = config.train.batch_size * config.train.devices
    check_batch(len(rows), batch_size=batch, file=file)
    steps = config.train.epochs * (len(rows) // batch)
    start = start_backbone(config, workspace)
    objective = build_objective(start.net, config, steps=steps)
    check_report(config, manifest)
    paths = tuple(row.path for row in rows)
    images = load_grey_images(root, paths, side_px=config.data.side_px)
    labelled = find_labelled(config, manifest, root=root)
    loader = _loader(config, manifest, images)
    return Prepared(images, paths, labelled, start, objective, loader)


def _loader(config: PretrainConfig, manifest: Manifest, images: NDArray[np.uint8]) -> TimedLoader:
    from medvit.learn.pretraining.surface_batches import SurfaceViewBatches, surface_loader
    from medvit.learn.pretraining.surface_views import SurfaceViewSettings

    is_mae = config.pretrain.method == "mae"
    settings = SurfaceViewSettings(**config.views.model_dump())
    batches = SurfaceViewBatches(
        images,
        settings=settings.only_cropped() if is_mae else settings,
        views=1 if is_mae else 2,
        seed=config.train.seed,
        groups=[row.group for row in manifest.of("train")],
    )
    train = config.train
    return surface_loader(batches, batch_size=train.batch_size, workers=train.workers)


def _fit(
    prepared: Prepared, *, config: PretrainConfig, folder: Path, progress: Progress | None
) -> tuple[FitResult, PretrainingWatch]:
    from medvit.learn.fit import FitSettings, fit
    from medvit.learn.pretraining.watch import ALARM_STEPS, PretrainingWatch
    from medvit.report.training_pictures import write_results

    watch = PretrainingWatch(
        prepared.start.net,
        prepared.objective.embed,  # type: ignore[arg-type]
        prepared.images[:: max(1, len(prepared.images) // WATCHED)][:WATCHED],
        side_px=config.views.side_px,
        folder=folder,
        probe=prepared.labelled.probe(every=config.pretrain.probe_every),
    )
    watch.stop_on_collapse = config.pretrain.on_collapse == "stop"
    warmup_steps = round(config.train.warmup_epochs * len(prepared.loader))
    watch.alarm_from_step = max(ALARM_STEPS, warmup_steps)
    _picture_views(prepared.loader, folder)
    settings = FitSettings(**config.train.model_dump(exclude={"batch_size", "workers"}))
    result = fit(
        prepared.objective,
        prepared.loader,
        settings=settings,
        folder=folder,
        progress=progress,
        observers=[watch],
    )
    write_results(folder, watch.rows)
    return result, watch


def _picture_views(loader: TimedLoader, folder: Path) -> None:
    """Draw the views of the first images of the first epoch: `train_batch.jpg`."""
    from itertools import islice

    from medvit.learn.pretraining.surface_views import GREY_LEVELS
    from medvit.report.training_pictures import write_mosaic

    keys = list(islice(iter(loader.sampler), 8))
    views = loader.dataset.__getitems__(keys).views[:, :, 0]  # type: ignore[attr-defined]
    shown = [view for image in range(views.shape[1]) for view in views[:, image]]
    captions = [
        f"image {image + 1}, view {number + 1}"
        for image in range(views.shape[1])
        for number in range(views.shape[0])
    ]
    levels = [(view * GREY_LEVELS).round().byte().numpy() for view in shown]
    write_mosaic(folder / "train_batch.jpg", levels, captions=captions)


def seconds_per_epoch(config: PretrainConfig, *, steps: int = 3) -> float:
    """Return what an epoch of a config takes here; nothing is left behind.

    For who knows minutes and not epochs: a schedule of so many epochs ends in time, where
    `train.max_minutes` would cut it off at a high learning rate.

    Args:
        config: Of the pretraining.
        steps: That are timed, after one that warms up.
    """
    import time
    from itertools import islice

    import torch

    from medvit.models.layers.memory_order import channels_last

    prepared = _prepare(config, Workspace(Path()))
    objective = channels_last(prepared.objective)
    is_mixed = config.train.precision == "bf16-mixed"
    done, started = 0, 0.0
    for done, batch in enumerate(islice(iter(prepared.loader), steps + 1)):
        with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
            found = objective(batch)
        loss = found["loss"] if isinstance(found, dict) else found
        loss.backward()
        if not done:
            started = time.perf_counter()
    return (time.perf_counter() - started) / max(1, done) * len(prepared.loader)


def _waited(loader: TimedLoader, result: FitResult) -> float | None:
    """Return the share of the time in which the training waited; None if it ran elsewhere."""
    if not loader.batches or not result.seconds:
        return None
    return round(loader.waited_s / result.seconds, 4)


def _check_collapse(watch: PretrainingWatch, folder: Path, config: PretrainConfig) -> None:
    if not watch.collapsed_at or watch.health is None:
        return
    msg = f"epoch {watch.collapsed_at}: {watch.health.sentence()}"
    record = {"settings": config.model_dump(mode="json"), "model": None, "failures": [msg]}
    write_run_record(folder, record)
    raise GateRefusedError(msg, hint="pretrain.on_collapse=warn goes on all the same")
