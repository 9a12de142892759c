"""A training that is watched: figures in its table, pictures in TensorBoard."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from medvit.inference.nodules import Nodule
from medvit.io.pyramids import hold_pyramid
from medvit.learn.fit import FitSettings, fit
from medvit.metrics.froc import Annotation
from medvit.models.heads.centre import CentreMaps
from medvit.report.nodule_pictures import MARK, TRUTH
from pipelines.nodules.validation import FrocWatch, KnownScan, picture_of
from tests.inference.test_nodules import BALLS, BlobFinder, right_lung
from tests.report.test_nodule_pictures import colours


class Learner(BlobFinder):
    """A finder of balls that is deaf until its one weight has risen."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(-60.0))

    def forward(self, x: Tensor) -> CentreMaps:
        maps = super().forward(x)
        return maps._replace(heat=maps.heat + self.threshold)


class Raise(nn.Module):
    """A loss that falls as the weight rises: with AdamW by the learning rate a step."""

    def __init__(self) -> None:
        super().__init__()
        self.detector = Learner()

    def forward(self, batch: list[Tensor]) -> Tensor:
        return -self.detector.threshold * batch[0].mean()


def lung_with_balls() -> KnownScan:
    nodules = tuple(Annotation("one", *ball.centre_lps_mm, ball.diameter_mm) for ball in BALLS)
    return KnownScan("one", hold_pyramid(right_lung(*BALLS)), nodules)


@pytest.mark.slow
def test_figures_join_the_table_and_pictures_go_to_tensorboard(tmp_path: Path) -> None:
    batches = DataLoader(TensorDataset(torch.ones(4, 1)), batch_size=1)
    settings = FitSettings(epochs=5, lr=10.0, warmup_epochs=0, weight_decay=0.0)
    watch = FrocWatch([lung_with_balls], every=1)
    fit(Raise(), batches, settings=settings, folder=tmp_path, observers=[watch])
    with (tmp_path / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    cpm = [row["validation_cpm"] for row in rows]
    assert [float(value) for value in cpm[:4]] == [0.0, 1.0, 1.0, 1.0]
    assert cpm[4] == ""  # the last epoch is the card's
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"images": 0}).Reload()
    assert set(events.Tags()["images"]) == {"validation/froc", "validation/scan_0"}
    assert len(events.Images("validation/froc")) == 4


def test_a_picture_shows_what_is_known_and_what_is_marked_in_its_slice() -> None:
    scan = lung_with_balls()
    volume = scan.pyramid.levels[0]
    place = BALLS[0].centre_lps_mm
    marks = [Nodule(place, (0, 0, 0), 9.0, 0.8), Nodule(place, (0, 0, 0), 9.0, 0.1)]
    picture = picture_of(scan, marks)
    assert picture.shape == (*volume.shape[1:], 3)
    x_px, y_px = (place[0] + 138.1) / 1.25, (place[1] + 93.1) / 1.25
    assert colours(picture, TRUTH).mean(axis=0) == pytest.approx([y_px, x_px], abs=1)
    assert len(colours(picture, MARK))
    plain = picture_of(KnownScan("one", scan.pyramid, ()), [])
    assert not len(colours(plain, TRUTH))
    assert np.array_equal(plain[..., 0], plain[..., 1])
