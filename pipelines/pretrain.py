"""Pretrain a backbone on images without reading their labels.

Manifest -> images in memory -> pairs of views -> contrastive loss -> ModelVersion.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch.utils.data import DataLoader

from medvit.data.augment.surface import SurfaceViews, ViewSettings
from medvit.data.manifest import read_manifest
from medvit.data.surface import EpochOrder, TwoViews, load_grey_images
from medvit.errors import ConfigError
from medvit.learn.fit import FitResult, FitSettings, Progress, fit
from medvit.learn.pretraining.simclr import SimclrLoss, SimclrNet
from medvit.models.builders import build_backbone
from medvit.models.vit import Vit, draw_weights
from medvit.models.weights import ModelCard
from medvit.workspace import Workspace
from pipelines.config import Settings
from pipelines.training_config import ImageData, ModelName, Training, Views, find_manifest
from pipelines.training_run import TrainingSummary, close_run, images_sha256, open_run, register


class PretrainMethod(Settings):
    """`pretrain`: the loss."""

    method: Literal["simclr"] = "simclr"
    temperature: float = Field(0.2, gt=0)


class PretrainModel(Settings):
    """`model`: what is trained, and the name it is registered under."""

    name: ModelName
    backbone: Literal["vit_tiny_stem"] = "vit_tiny_stem"


class PretrainConfig(Settings):
    """A pretraining config."""

    data: ImageData
    model: PretrainModel
    train: Training
    pretrain: PretrainMethod = PretrainMethod()
    views: Views = Views()


def run(
    config: PretrainConfig, *, workspace: Workspace, progress: Progress | None = None
) -> TrainingSummary:
    """Pretrain, register the backbone, and return its name with the last loss.

    Raises:
        ConfigError: If the manifest has too few training images for one batch.
    """
    file, root = find_manifest(config.data)
    paths = [row.path for row in read_manifest(file).of("train")]
    if len(paths) < config.train.batch_size:
        msg = f"{file}: {len(paths)} training images for train.batch_size={config.train.batch_size}"
        raise ConfigError(msg, hint=f"set train.batch_size to {max(2, len(paths))} or less")
    images = load_grey_images(root, paths, side_px=config.data.side_px)
    folder = open_run(workspace, "pretrain", config)
    pairs = TwoViews(
        images,
        views=SurfaceViews(ViewSettings(**config.views.model_dump())),
        seed=config.train.seed,
    )
    batches = DataLoader(
        pairs,
        batch_size=config.train.batch_size,
        sampler=EpochOrder(len(pairs), seed=config.train.seed),
        drop_last=True,
    )
    net = _build_net(config)
    objective = SimclrLoss(net, temperature=config.pretrain.temperature)
    settings = FitSettings(**config.train.model_dump(exclude={"batch_size"}))
    result = fit(objective, batches, settings=settings, folder=folder, progress=progress)
    card = _register(
        config, workspace, net, result=result, data_sha256=images_sha256(images, paths)
    )
    close_run(folder, config, card=card, result=result, counts={"images": len(paths)})
    return TrainingSummary(folder, card.reference, card.metrics)


def _build_net(config: PretrainConfig) -> SimclrNet:
    backbone = build_backbone(config.model.backbone)
    if not isinstance(backbone, Vit):
        msg = f"model.backbone={config.model.backbone}: simclr needs a network for images"
        raise ConfigError(msg, hint="use vit_tiny_stem")
    net = SimclrNet(backbone, channels=backbone.out_channels)
    draw_weights(net, generator=torch.Generator().manual_seed(config.train.seed))
    return net


def _register(
    config: PretrainConfig,
    workspace: Workspace,
    net: SimclrNet,
    *,
    result: FitResult,
    data_sha256: str,
) -> ModelCard:
    metrics = {"loss": result.loss, "epochs": result.epochs, "cut_short": result.cut_short}
    card = {
        "task": "backbone",
        "architecture": {"builder": config.model.backbone},
        "classes": (),
        "preprocessing": {"side_px": config.data.side_px, "channels": "grey", "range": [0, 1]},
        "training": {**config.model_dump(mode="json"), "data_sha256": data_sha256},
        "metrics": metrics,
    }
    readme = (
        "# {reference}\n\n"
        f"A {config.model.backbone} backbone, pretrained with {config.pretrain.method} on the "
        f"training images of `{config.data.manifest}`; labels were not read.\n"
        f"Epochs {result.epochs}, last contrastive loss {result.loss:.4f}"
        f"{', cut short by train.max_minutes' if result.cut_short else ''}.\n\n"
        "Not a model to scan with: start a training from it with `model.weights={reference}`.\n"
    )
    return register(workspace, net.backbone, name=config.model.name, card=card, readme=readme)
