"""Train the nodule detector: backgrounds -> crops with nodules -> detector -> model version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from medvit.errors import ConfigError
from medvit.workspace import Workspace
from pipelines.nodule_config import DataSettings, NoduleConfig, TrainSettings
from pipelines.training_run import close_run, find_weights, open_run, register

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from medvit.data.nodule_crops import Background
    from medvit.io.case import Case
    from medvit.learn.fit import FitSettings, Progress
    from medvit.models.heads.centre import NoduleDetector

SPACING_MM = 1.0


def run(
    config: NoduleConfig, workspace: Workspace, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Train, measure on validation phantoms, register, and return `{"run", "model", "metrics"}`.

    A run that was interrupted goes on when it is asked for again.

    Raises:
        ConfigError: If a scan named in the config is not below `data.root`.
    """
    from medvit.learn.fit import fit
    from medvit.learn.nodules import NoduleObjective
    from pipelines.nodule_card import card_fields, card_text

    train = config.train
    batches = _batches(config, workspace.cache / "backgrounds")
    folder = open_run(workspace, "train", config)
    detector, parents = _build(config, workspace)
    objective = NoduleObjective(detector, spacing_mm=SPACING_MM)
    settings = _fit_settings(train)
    result = fit(objective, batches, settings=settings, folder=folder, progress=progress)
    fields = card_fields(config, detector.eval(), result) | {"parents": parents}
    card = register(
        workspace, detector, name=config.model.name, card=fields, readme=card_text(fields)
    )
    crops = result.epochs * config.train.crops_per_epoch
    counts = {"phantoms": config.data.phantoms, "crops": crops}
    return close_run(folder, config, card=card, result=result, counts=counts)


def _build(config: NoduleConfig, workspace: Workspace) -> tuple[NoduleDetector, tuple[str, ...]]:
    """Return the network to train and the models it starts from."""
    import torch

    from medvit.models.builders import nodule_detector

    model = config.model
    with torch.random.fork_rng():
        torch.manual_seed(config.train.seed)
        detector = nodule_detector(backbone=model.backbone, width=model.width)
    if model.weights == "none":
        return detector, ()
    start, card = find_weights(model.weights, workspace)
    try:
        detector.load_state_dict(start.state_dict())
    except RuntimeError as error:
        msg = f"model.weights={model.weights}: {card.architecture} does not fit {model.backbone}"
        raise ConfigError(msg, hint="name the backbone and width it was trained with") from error
    return detector, (card.reference,)


def _fit_settings(train: TrainSettings) -> FitSettings:
    from medvit.learn.fit import FitSettings

    return FitSettings(
        epochs=train.epochs,
        lr=train.lr,
        weight_decay=train.weight_decay,
        max_minutes=train.max_minutes,
        seed=train.seed,
        precision="bf16-mixed",
    )


def _batches(config: NoduleConfig, cache: Path) -> DataLoader[Any]:
    from torch.utils.data import DataLoader

    from medvit.data.nodule_crops import CropSettings, FreshCrops, NoduleCrops, collate

    train = config.train
    crops = NoduleCrops(
        _backgrounds(config.data, cache), CropSettings(side=train.crop_side), seed=train.seed
    )
    return DataLoader(
        crops,
        batch_size=train.batch_size,
        sampler=FreshCrops(train.crops_per_epoch),
        num_workers=train.workers,
        collate_fn=collate,
        multiprocessing_context="spawn" if train.workers else None,
        persistent_workers=train.workers > 0,
    )


def _backgrounds(data: DataSettings, cache: Path) -> list[Background]:
    from medvit.data.backgrounds import phantom_background, scan_background
    from medvit.data.nodule_crops import load_background, save_background
    from medvit.io.readers import open_volume

    scans = [] if data.root is None else list(data.scans)
    cases = [_find_case(Path(data.root or "") / scan.source) for scan in scans]
    cache.mkdir(parents=True, exist_ok=True)
    found = []
    for seed in range(data.phantom_seed, data.phantom_seed + data.phantoms):
        path = cache / f"phantom-{seed}"
        if not path.with_suffix(".npz").is_file():
            save_background(path, phantom_background(seed, spacing_mm=SPACING_MM))
        found.append(load_background(path))
    for scan, case in zip(scans, cases, strict=True):
        background = scan_background(open_volume(case), scan.ignored_xyzd_mm, spacing_mm=SPACING_MM)
        found += [background] * scan.weight
    return found


def _find_case(source: Path) -> Case:
    from medvit.io.discover import discover

    cases = [case for case in discover(source).cases if case.kind == "ct"]
    if len(cases) != 1:
        msg = f"{source}: one CT series expected, {len(cases)} found"
        raise ConfigError(msg, hint="name the folder of one series in data.scans")
    return cases[0]
