"""Pretrain a 3D encoder on CT scans without labels.

Cases -> foregrounds -> patches -> pairs of views -> three tasks -> ModelVersion.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from medvit.errors import ConfigError
from medvit.workspace import Workspace
from pipelines.pretraining.volume_config import VolumePretrainConfig
from pipelines.training.progressive import phases_of
from pipelines.training.run import close_run, open_run, register
from pipelines.usable_scans import UsableScans, find_usable_scans, write_cases

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from medvit.learn.fit import FitResult, Progress
    from medvit.learn.pretraining.observe import Figures
    from medvit.learn.pretraining.patch_pairs import PatchPairs
    from medvit.learn.pretraining.volumes import VolumeSslLoss

LEAST_SHARE = 0.5
"""A scan must be at least so many patches long along each axis."""

PICTURED = 4
ALARM_STEPS = 200
"""Optimiser steps after which patches must have begun to differ."""


def run(
    config: VolumePretrainConfig, workspace: Workspace, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Pretrain, register the encoder, and return `{"run", "model", "metrics"}`.

    A run that was interrupted goes on when it is asked for again.

    Raises:
        ConfigError: If no scan can be used, or patches are too small for the encoder.
    """
    from medvit.io.scratch import Scratch
    from medvit.learn.fit import FitSettings, fit
    from medvit.learn.pretraining.observe import Figures, Pictures
    from medvit.registry.registry import version_folder

    next(version_folder(workspace.models, config.model.name))
    objective = _build(config)
    least_mm = LEAST_SHARE * config.data.side * config.data.spacing_mm
    scans = find_usable_scans(
        config.data.root, least_mm=least_mm, scratch=Scratch.below(workspace.cache)
    )
    with open_run(workspace, "pretrain", config) as folder:
        write_cases(folder, scans)
        pairs = _pairs(config, scans)
        figures = Figures(
            alarm_from_step=max(ALARM_STEPS, _warmup_steps(config)),
            views=2 * config.train.batch_size * config.train.devices,
        )
        left_out = {"batch_size", "patches_per_epoch", "workers", "progressive"}
        result = fit(
            objective,
            _batches(config, pairs),
            settings=FitSettings(**config.train.model_dump(exclude=left_out)),
            folder=folder,
            progress=progress,
            observers=[figures, Pictures(objective, _pictured(pairs))],
        )
        card = _card(config, result, figures=figures, scans=scans)
        readme = _readme(config, result, scans=scans, collapsed=figures.has_collapsed)
        encoder = objective.net.get_submodule("backbone")
        saved = register(workspace, encoder, name=config.model.name, card=card, readme=readme)
        counts = {
            "scans": len(scans.cases),
            "left_out": len(scans.unused),
            "patches": result.epochs * config.train.patches_per_epoch,
        }
        return close_run(folder, config, card=saved, result=result, counts=counts)


def _warmup_steps(config: VolumePretrainConfig) -> int:
    train = config.train
    return round(
        train.warmup_epochs * (train.patches_per_epoch // (train.batch_size * train.devices))
    )


def _build(config: VolumePretrainConfig) -> VolumeSslLoss:
    import torch

    from medvit.learn.pretraining.volumes import VolumeSslLoss, VolumeSslNet
    from medvit.models.builders import volume_backbone

    with torch.random.fork_rng():
        torch.manual_seed(config.train.seed)
        net = VolumeSslNet(volume_backbone(config.model.backbone))
    sides = [phase.side or config.data.side for phase in config.train.progressive]
    side = min([config.data.side, *sides])
    if side < 2 * net.stride:
        msg = f"{config.model.backbone} needs patches of {2 * net.stride} voxels, got {side}"
        raise ConfigError(msg, hint=f"set data.side={2 * net.stride}")
    return VolumeSslLoss(net, temperature=config.pretrain.temperature)


def _pairs(config: VolumePretrainConfig, scans: UsableScans) -> PatchPairs:
    from medvit.data.patches import VolumePatches
    from medvit.learn.pretraining.patch_pairs import PatchPairs
    from medvit.learn.pretraining.views import PaintShares

    data, train, method = config.data, config.train, config.pretrain
    patches = VolumePatches(
        scans.cases,
        scans.foregrounds,
        phases=phases_of(train.progressive, spacing_mm=data.spacing_mm, side=data.side),
        lungs_share=data.lungs_share,
        seed=train.seed,
    )
    shares = PaintShares(noise=method.noise_share, copied=method.copied_share)
    return PatchPairs(patches, shares=shares, low_hu=data.low_hu, high_hu=data.high_hu)


def _batches(config: VolumePretrainConfig, pairs: PatchPairs) -> DataLoader[Any]:
    from torch.utils.data import DataLoader

    from medvit.data.draws import FreshDraws
    from medvit.learn.pretraining.patch_pairs import collate_pairs

    train = config.train
    shares = [phase.share for phase in pairs.patches.phases]
    return DataLoader(
        pairs,
        batch_size=train.batch_size,
        sampler=FreshDraws(train.patches_per_epoch, epochs=train.epochs, shares=shares),
        drop_last=True,
        num_workers=train.workers,
        collate_fn=collate_pairs,
        multiprocessing_context="spawn" if train.workers else None,
        persistent_workers=train.workers > 0,
    )


def _pictured(pairs: PatchPairs) -> Any:
    """Return patches to look at: of the last phase, and never trained on."""
    from medvit.data.draws import DrawKey
    from medvit.learn.pretraining.patch_pairs import collate_pairs

    last = len(pairs.patches.phases) - 1
    return collate_pairs([pairs[DrawKey(last, 2**40 + number)] for number in range(PICTURED)])


def _card(
    config: VolumePretrainConfig, result: FitResult, *, figures: Figures, scans: UsableScans
) -> dict[str, Any]:
    ids = "\n".join(sorted(case.case_id for case in scans.cases.cases))
    settings = config.model_dump(mode="json")
    settings["data"]["root"] = "given"
    data = config.data
    return {
        "task": "backbone",
        "architecture": {"builder": config.model.backbone},
        "classes": (),
        "preprocessing": {
            "spacing_mm": data.spacing_mm,
            "low_hu": data.low_hu,
            "high_hu": data.high_hu,
        },
        "training": {**settings, "data_sha256": hashlib.sha256(ids.encode()).hexdigest()},
        "metrics": {
            **figures.last,
            "loss": result.loss,
            "epochs": result.epochs,
            "cut_short": result.cut_short,
            "collapsed": figures.has_collapsed,
        },
    }


def _readme(
    config: VolumePretrainConfig, result: FitResult, *, scans: UsableScans, collapsed: bool
) -> str:
    lines = [
        "# {reference}",
        "",
        f"A {config.model.backbone} encoder, pretrained on {len(scans.cases)} CT scans without "
        "labels: turns, identity of views, and restoring what was painted over.",
        f"Epochs {result.epochs}, last loss {result.loss:.4f}, {config.data.spacing_mm:g} mm "
        f"voxels, {config.data.low_hu:g} to {config.data.high_hu:g} HU.",
    ]
    if result.cut_short:
        lines.append("**Cut short** by train.max_minutes: it may do worse than usual.")
    if collapsed:
        lines.append("**Collapsed**: it cannot tell patches apart. Do not use it.")
    start = "start a training from it with `model.weights={reference}`."
    return "\n".join([*lines, "", f"Not a model to scan with: {start}", ""])
