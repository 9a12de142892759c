"""What the nodule training is fed: crops, the order they come in, and who mines false marks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from medvit.workspace import Workspace
from pipelines.nodules.config import SPACING_MM, NoduleConfig
from pipelines.nodules.data import crop_phases
from pipelines.training.progressive import phases_of

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from torch.utils.data import DataLoader

    from medvit.data.annotated import AnnotatedScan
    from medvit.data.false_marks import MinedDraws
    from pipelines.nodules.validation import KnownScan


def nodule_batches(
    config: NoduleConfig, workspace: Workspace, *, annotated: Sequence[AnnotatedScan] = ()
) -> tuple[DataLoader[Any], MinedDraws]:
    """Return the batches of a training and the sampler that chooses them.

    Args:
        config: Of the training.
        workspace: Keeps what is made and decoded.
        annotated: Scans with real nodules to train on.

    Raises:
        ConfigError: If a scan named in the config is not there.
    """
    from torch.utils.data import DataLoader

    from medvit.data.false_marks import FalseMarks, MinedDraws
    from medvit.data.nodule_items import NoduleCrops, collate
    from medvit.io.scratch import Scratch

    train = config.train
    phases = phases_of(train.progressive, spacing_mm=SPACING_MM, side=train.crop_side)
    scratch = Scratch.below(workspace.cache)
    backgrounds = crop_phases(
        config.data, phases, annotated=annotated, cache=workspace.cache, scratch=scratch
    )
    crops = NoduleCrops(backgrounds, seed=train.seed)
    draws = MinedDraws(
        train.crops_per_epoch,
        FalseMarks(),
        hard_share=train.hard_share,
        seed=train.seed,
        epochs=train.epochs,
        shares=[phase.share for phase in phases],
    )
    batches = DataLoader(
        crops,
        batch_size=train.batch_size,
        sampler=draws,
        num_workers=train.workers,
        collate_fn=collate,
        multiprocessing_context="spawn" if train.workers else None,
        persistent_workers=train.workers > 0,
    )
    return batches, draws


def observers_of(
    config: NoduleConfig,
    batches: DataLoader[Any],
    draws: MinedDraws,
    *,
    known: Sequence[Callable[[], KnownScan]],
) -> list[Callback]:
    """Return who looks on at a training: for false marks, and for how good it is.

    Args:
        config: Of the training.
        batches: Its batches.
        draws: Their sampler.
        known: Scans to validate on.
    """
    from typing import cast

    from medvit.data.nodule_items import NoduleCrops
    from medvit.learn.hard_negatives import HardNegatives
    from pipelines.nodules.validation import FrocWatch

    train = config.train
    observers: list[Callback] = []
    if known and train.validate_every:
        observers.append(FrocWatch(known, every=train.validate_every))
    if train.hard_share:
        crops = cast("NoduleCrops", batches.dataset)
        observers.append(HardNegatives(crops, draws, lookouts=train.lookouts))
    return observers


def known_scans(
    config: NoduleConfig, workspace: Workspace, held_out: Sequence[AnnotatedScan]
) -> list[Callable[[], KnownScan]]:
    """Return the scans to validate on: held-out ones, with nodules first, or else phantoms."""
    from medvit.io.scratch import Scratch
    from pipelines.nodules.validation import annotated_to_search, phantom_to_search

    data = config.data
    if held_out:
        scratch = Scratch.below(workspace.cache)
        with_nodules_first = sorted(held_out, key=lambda scan: len(scan.nodules) == 0)
        chosen = with_nodules_first[: data.validation_scans]
        return [partial(annotated_to_search, scan, scratch=scratch) for scan in chosen]
    first = data.phantom_seed + data.phantoms
    seeds = range(first, first + data.validation_phantoms)
    return [partial(phantom_to_search, seed) for seed in seeds]
