"""Pretrain a backbone on images without reading their labels.

Manifest -> images in memory -> pairs of views -> contrastive loss -> ModelVersion.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from medvit.workspace import Workspace
from pipelines.config import Settings
from pipelines.training_config import ImageData, Training, Views, check_batch, find_manifest
from pipelines.training_run import close_run, images_sha256, open_run, register

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medvit.learn.fit import FitResult, Progress
    from medvit.learn.pretraining.simclr import SimclrNet


class PretrainMethod(Settings):
    """`pretrain`: the loss."""

    method: Literal["simclr"] = "simclr"
    temperature: float = Field(0.2, gt=0)


class PretrainModel(Settings):
    """`model`: what is trained, and the name it is registered under."""

    name: str
    backbone: Literal["vit_tiny_stem"] = "vit_tiny_stem"


class PretrainConfig(Settings):
    """A pretraining config."""

    data: ImageData
    model: PretrainModel
    train: Training
    pretrain: PretrainMethod = PretrainMethod()
    views: Views = Views()


def run(
    config: PretrainConfig, workspace: Workspace, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Pretrain, register the backbone, and return `{"run", "model", "metrics"}`.

    Raises:
        ConfigError: If the manifest has too few training images for one batch.
    """
    from medvit.data.manifest import read_manifest
    from medvit.data.surface import load_grey_images
    from medvit.registry.registry import version_folder

    next(version_folder(workspace.models, config.model.name))
    file, root = find_manifest(config.data)
    paths = [row.path for row in read_manifest(file).of("train")]
    check_batch(len(paths), batch_size=config.train.batch_size, file=file)
    images = load_grey_images(root, paths, side_px=config.data.side_px)
    folder = open_run(workspace, "pretrain", config)
    net = _build_net(config)
    result = _fit(net, images, config=config, folder=folder, progress=progress)
    card = _card(config, result, data_sha256=images_sha256(images, paths))
    saved = register(
        workspace, net.backbone, name=config.model.name, card=card, readme=_readme(config, result)
    )
    return close_run(folder, config, card=saved, result=result, counts={"images": len(paths)})


def _build_net(config: PretrainConfig) -> SimclrNet:
    import torch

    from medvit.learn.pretraining.simclr import SimclrNet
    from medvit.models.builders import image_backbone
    from medvit.models.vit import draw_weights

    backbone = image_backbone(config.model.backbone)
    net = SimclrNet(backbone, channels=backbone.out_channels)
    draw_weights(net, generator=torch.Generator().manual_seed(config.train.seed))
    return net


def _fit(
    net: SimclrNet,
    images: NDArray[np.uint8],
    *,
    config: PretrainConfig,
    folder: Path,
    progress: Progress | None,
) -> FitResult:
    from torch.utils.data import DataLoader

    from medvit.data.augment.surface import SurfaceViews, ViewSettings
    from medvit.data.surface import EpochOrder, TwoViews
    from medvit.learn.fit import FitSettings, fit
    from medvit.learn.pretraining.simclr import SimclrLoss

    seed = config.train.seed
    views = SurfaceViews(ViewSettings(**config.views.model_dump()))
    batches = DataLoader(
        TwoViews(images, views=views, seed=seed),
        batch_size=config.train.batch_size,
        sampler=EpochOrder(len(images), seed=seed),
        drop_last=True,
    )
    objective = SimclrLoss(net, temperature=config.pretrain.temperature)
    settings = FitSettings(**config.train.model_dump(exclude={"batch_size"}))
    return fit(objective, batches, settings=settings, folder=folder, progress=progress)


def _card(config: PretrainConfig, result: FitResult, *, data_sha256: str) -> dict[str, Any]:
    return {
        "task": "backbone",
        "architecture": {"builder": config.model.backbone},
        "classes": (),
        "preprocessing": {"side_px": config.data.side_px, "channels": "grey", "range": [0, 1]},
        "training": {**config.model_dump(mode="json"), "data_sha256": data_sha256},
        "metrics": {
            "loss": result.loss,
            "epochs": result.epochs,
            "cut_short": result.cut_short,
        },
    }


def _readme(config: PretrainConfig, result: FitResult) -> str:
    cut = ", cut short by train.max_minutes" if result.cut_short else ""
    return (
        "# {reference}\n\n"
        f"A {config.model.backbone} backbone, pretrained with {config.pretrain.method} on the "
        f"training images of `{config.data.manifest}`; labels were not read.\n"
        f"Epochs {result.epochs}, last contrastive loss {result.loss:.4f}{cut}.\n\n"
        "Not a model to scan with: start a training from it with `model.weights={reference}`.\n"
    )
