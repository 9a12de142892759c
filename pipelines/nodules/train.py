"""Train the nodule detector: backgrounds -> crops with nodules -> detector -> model version."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from medvit.errors import ConfigError
from medvit.workspace import Workspace
from pipelines.nodules.batches import known_scans, nodule_batches, observers_of
from pipelines.nodules.config import SPACING_MM, NoduleConfig, TrainSettings
from pipelines.training.progressive import PhaseSettings
from pipelines.training.run import close_run, open_run, register
from pipelines.training.weights import find_weights

if TYPE_CHECKING:
    from medvit.data.annotated import AnnotatedScan
    from medvit.learn.fit import FitSettings, Precision, Progress
    from medvit.models.heads.centre import NoduleDetector
    from medvit.models.swin3d import Merging, Swin3d
    from medvit.models.weights import ModelCard
    from medvit.registry.lineage import Seen

_log = logging.getLogger(__name__)

LEAST_BF16_SIDE = 64
"""On smaller crops the deepest map is 2x2x2, where torch 2.13 on a CPU gives weight gradients
of a bfloat16 convolution that differ by a third from one call to the next."""

WHOLE = PhaseSettings(spacing_mm=SPACING_MM, share=1.0)


def run(
    config: NoduleConfig, workspace: Workspace, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Train, measure on what was held out, register, and return `{"run", "model", "metrics"}`.

    A run that was interrupted goes on when it is asked for again. With annotated scans the
    run folder gets `predictions.csv` of the held-out fold; with `data.annotated.fold=all`
    each fold is trained in turn, see `pipelines.nodules.folds`.

    Raises:
        ConfigError: If a scan named in the config is not below `data.root`.
        InputError: If annotated scans break a rule, before anything is trained.
    """
    from pipelines.nodules.folds import run_folds

    if config.data.annotated is not None and config.data.annotated.fold == "all":
        one = partial(_train_one, workspace=workspace, progress=progress)
        return run_folds(config, workspace, train_one=one)
    return _train_one(config, workspace=workspace, progress=progress)


def _train_one(
    config: NoduleConfig, *, workspace: Workspace, progress: Progress | None
) -> dict[str, Any]:
    """Train one detector."""
    from medvit.io.scratch import Scratch
    from medvit.learn.fit import fit
    from medvit.learn.nodules import NoduleObjective
    from pipelines.nodules.card import card_fields, card_text
    from pipelines.nodules.folds import search_held_out

    annotated, held_out = _annotated(config, workspace)
    batches, draws = nodule_batches(config, workspace, annotated=annotated)
    known = known_scans(config, workspace, held_out)
    with open_run(workspace, "train", config) as folder:
        detector, parents = build_detector(config, workspace)
        result = fit(
            NoduleObjective(detector),
            batches,
            settings=_fit_settings(config.train),
            folder=folder,
            progress=progress,
            observers=observers_of(config, batches, draws, known=known),
        )
        detector.eval().to(result.device)
        if held_out:
            scratch = Scratch.below(workspace.cache)
            search_held_out(detector, held_out, folder=folder, scratch=scratch)
        fields = card_fields(config, detector, result, held_out=(folder, held_out))
        fields |= {"parents": parents}
        card = register(
            workspace,
            detector.cpu(),
            name=config.model.name,
            card=fields,
            readme=card_text(fields),
            seen=_seen(config, annotated),
        )
        crops = result.epochs * config.train.crops_per_epoch
        counts = {"phantoms": config.data.phantoms, "scans": len(annotated), "crops": crops}
        return close_run(folder, config, card=card, result=result, counts=counts)


def _seen(config: NoduleConfig, annotated: Sequence[AnnotatedScan]) -> Seen:
    """Return marks of the series that were trained on; made chests bear none."""
    from medvit.registry.lineage import seen_scans
    from pipelines.nodules.data import find_case

    scans = [(scan.name, scan.patient) for scan in annotated]
    if config.data.root is not None:
        cases = [find_case(Path(config.data.root) / scan.source) for scan in config.data.scans]
        scans += [(case.series_uid or case.source, "") for case in cases]
    return seen_scans(scans)


def _annotated(
    config: NoduleConfig, workspace: Workspace
) -> tuple[Sequence[AnnotatedScan], Sequence[AnnotatedScan]]:
    """Return annotated scans to train on, and those of the fold that is held out."""
    from medvit.io.scratch import Scratch
    from pipelines.nodules.annotated_data import annotated_scans

    settings = config.data.annotated_settings
    if settings is None:
        return (), ()
    data = annotated_scans(settings, scratch=Scratch.below(workspace.cache))
    (fold,) = settings.held_out
    return data.folds.split(data.scans, fold)


def build_detector(
    config: NoduleConfig, workspace: Workspace
) -> tuple[NoduleDetector, tuple[str, ...]]:
    """Return the network to train and the models it starts from."""
    import torch

    from medvit.models.builders import nodule_detector

    model = config.model
    with torch.random.fork_rng():
        torch.manual_seed(config.train.seed)
        detector = nodule_detector(**model.architecture)
    if model.weights == "none":
        return detector, ()
    if model.merging is not None:
        _fill_encoder(detector, Path(model.weights), model.merging)
        return detector, (Path(model.weights).name,)
    start, card = find_weights(model.weights, workspace)
    is_encoder = card.task == "backbone"
    if is_encoder:
        _compare_inputs(card)
    weights = start.state_dict()
    if not is_encoder and detector.reduction is not None:
        # A model without a second look starts one that changes nothing yet.
        second = detector.reduction.state_dict(prefix="reduction.")
        weights = second | weights
    try:
        detector.get_submodule("backbone" if is_encoder else "").load_state_dict(weights)
    except RuntimeError as error:
        msg = f"model.weights={model.weights}: {card.architecture} does not fit {model.backbone}"
        raise ConfigError(msg, hint="name the backbone and width it was trained with") from error
    return detector, (card.reference,)


def _fill_encoder(detector: NoduleDetector, path: Path, merging: Merging) -> None:
    """Load a file of MONAI's encoder, all of it or none.

    Raises:
        ConfigError: If there is no such file.
        ModelError: If the file does not match.
    """
    from medvit.models.checkpoint import load_foreign

    if not path.is_file():
        msg = f"model.weights={path}: no such file"
        raise ConfigError(msg, hint="give the path of a file of weights")
    encoder = cast("Swin3d", detector.backbone)  # no other takes a merging
    report = load_foreign(encoder, path, merging=merging)
    _log.info("%s: %d of %d entries matched", path.name, report.matched, report.total)
    if report.dropped:
        _log.warning("%s: left out %s", path.name, ", ".join(report.dropped))


def _compare_inputs(card: ModelCard) -> None:
    """Warn when an encoder was pretrained on voxels of another size or range."""
    from medvit.data.nodule_crops import HIGH_HU, LOW_HU

    ours = {"spacing_mm": SPACING_MM, "low_hu": LOW_HU, "high_hu": HIGH_HU}
    theirs = {name: card.preprocessing.get(name) for name in ours}
    if theirs != ours:
        _log.warning(
            "%s was pretrained with %s, nodules are trained with %s", card.reference, theirs, ours
        )


def _fit_settings(train: TrainSettings) -> FitSettings:
    from medvit.learn.fit import FitSettings

    smallest = min(phase.side or train.crop_side for phase in train.progressive or (WHOLE,))
    automatic: Precision = "bf16-mixed" if smallest >= LEAST_BF16_SIDE else "32-true"
    return FitSettings(
        epochs=train.epochs,
        lr=train.lr,
        weight_decay=train.weight_decay,
        max_minutes=train.max_minutes,
        seed=train.seed,
        precision=automatic if train.precision == "auto" else train.precision,
        devices=train.devices,
        ema_decay=train.ema_decay or None,
    )
