"""What the nodule training is fed: crops, the order they come in, and who mines false marks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medvit.workspace import Workspace
from pipelines.nodule_config import SPACING_MM, NoduleConfig, TrainSettings
from pipelines.nodule_data import crop_phases
from pipelines.progressive_config import phases_of

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from torch.utils.data import DataLoader

    from medvit.data.false_marks import MinedDraws


def nodule_batches(
    config: NoduleConfig, workspace: Workspace
) -> tuple[DataLoader[Any], MinedDraws]:
    """Return the batches of a training and the sampler that chooses them.

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
    crops = NoduleCrops(
        crop_phases(config.data, phases, cache=workspace.cache, scratch=scratch), seed=train.seed
    )
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
    train: TrainSettings, batches: DataLoader[Any], draws: MinedDraws
) -> list[Callback]:
    """Return who looks on at a training."""
    from typing import cast

    from medvit.data.nodule_items import NoduleCrops
    from medvit.learn.hard_negatives import HardNegatives

    if train.hard_share == 0:
        return []
    crops = cast("NoduleCrops", batches.dataset)
    return [HardNegatives(crops, draws, lookouts=train.lookouts)]
