"""Mining of false marks: where they are found, and that an interruption changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from medvit.data.crop_augmentation import CropSettings
from medvit.data.false_marks import FalseMarks, MinedDraws
from medvit.data.nodule_crops import Background
from medvit.data.nodule_items import CropPhase, NoduleCrops, collate
from medvit.data.packed_mask import PackedMask
from medvit.data.patches import CaseGrid, OpenCases
from medvit.io.writing.metaimage import write_metaimage
from medvit.learn.fit import EpochReport, FitSettings, Progress, fit
from medvit.learn.hard_negatives import HardNegatives
from medvit.learn.nodules import NoduleObjective
from medvit.models.backbone import Backbone3d
from medvit.models.heads.centre import NoduleDetector
from medvit.volume.resample import VoxelGrid
from medvit.volume.volume import volume_of
from pipelines.nodules.data import find_case

AFFINE = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]) * 1.0
LURE = (20, 24, 28)
SETTINGS = CropSettings(side=32, most_nodules=1, most_distractors=0)


class Brightness(nn.Module):
    """A backbone whose one map is the mean HU of each cell, with some dropout in training."""

    widths = (1,)
    patch_size = 2

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool3d(2)
        self.drop = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.drop(self.pool(x))]


def lure_in_lung() -> Background:
    """Return parenchyma with one bright ball that is no nodule."""
    z, y, x = np.ogrid[:48, :48, :48]
    away = (z - LURE[0]) ** 2 + (y - LURE[1]) ** 2 + (x - LURE[2]) ** 2
    hu = np.where(away <= 9, 40, -850).astype(np.int16)
    voxels = VoxelGrid.of(volume_of(hu, AFFINE), 1.0)
    lungs = PackedMask.of(np.ones(hu.shape, dtype=bool))
    return Background(voxels, lungs, 1.0, (1.0, 1.0, 1.0), 20.0)


def bright_detector() -> NoduleDetector:
    """Return a detector that is half sure everywhere."""
    torch.manual_seed(0)
    backbone = Brightness()
    assert isinstance(backbone, Backbone3d)
    detector = NoduleDetector(backbone, width=8)
    with torch.no_grad():
        dict(detector.named_parameters())["head.1.bias"][0] = 0
    return detector


def train(
    folder: Path,
    *,
    progress: Progress | None = None,
    background: Background | None = None,
    devices: int = 1,
) -> tuple[FalseMarks, Tensor]:
    objective, marks = NoduleObjective(bright_detector()), FalseMarks()
    crops = NoduleCrops([CropPhase((background or lure_in_lung(),), SETTINGS)], seed=1)
    draws = MinedDraws(4, marks, hard_share=0.5, seed=1, epochs=4)
    batches = DataLoader(crops, batch_size=2, sampler=draws, collate_fn=collate)
    settings = FitSettings(4, lr=1e-2, warmup_epochs=0, ema_decay=0.5, devices=devices)
    miner = HardNegatives(crops, draws, lookouts=4)
    fit(objective, batches, settings=settings, folder=folder, progress=progress, observers=[miner])
    return marks, torch.cat([p.detach().flatten() for p in objective.parameters()])


def test_an_interrupted_training_mines_and_learns_the_very_same(tmp_path: Path) -> None:
    def interrupt(report: EpochReport) -> None:
        if report.epoch == 3:
            raise KeyboardInterrupt

    marks, weights = train(tmp_path / "whole")
    assert len(marks.rows)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", progress=interrupt)
    again, resumed = train(tmp_path / "parts")
    assert np.array_equal(again.rows, marks.rows)
    assert torch.equal(resumed, weights)


@pytest.mark.slow
def test_two_processes_share_the_looking_and_end_with_one_bank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    in_memory = lure_in_lung()
    assert isinstance(in_memory.voxels, VoxelGrid)
    write_metaimage(in_memory.voxels.volume, tmp_path / "lure.mha")
    cases = OpenCases([find_case(tmp_path / "lure.mha")])
    background = replace(in_memory, voxels=CaseGrid(cases, 0, 1.0))
    marks, weights = train(tmp_path / "two", background=background, devices=2)
    _, alone = train(tmp_path / "one", background=background)
    assert len(marks.rows)
    assert torch.isfinite(weights).all()
    assert not torch.equal(weights, alone)  # a step is the mean of two batches
    assert len((tmp_path / "two" / "metrics.csv").read_text().splitlines()) == 5
