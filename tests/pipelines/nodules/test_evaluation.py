from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.geometry import index_to_lps
from medvit.metrics.froc import Annotation
from medvit.models.heads.centre import CentreMaps
from medvit.volume.volume import AIR_HU
from pipelines.nodules.evaluation import Trial, insertion_trial, measure
from tests.make.chest import Ball, make_chest

VOXEL_MM = 5.0
BALL = Ball((-70.0, 10.0, 5.0), 20.0)


class Bright(nn.Module):
    """Marks what is dense within 8 mm and surrounded by lung: a detector without weights."""

    stride = 2

    def forward(self, x: Tensor) -> CentreMaps:
        inner = F.avg_pool3d(x, 8, stride=2, padding=3, count_include_pad=False)
        around = F.avg_pool3d(x, 32, stride=16, padding=8, count_include_pad=False)
        outer = F.interpolate(around, size=inner.shape[2:], mode="trilinear")
        heat = 12 * (inner - 2 * outer - 0.2)
        log_diameter = torch.full_like(heat, float(np.log(20)))
        return CentreMaps(heat, log_diameter, torch.zeros_like(heat).repeat(1, 3, 1, 1, 1))


def ball_trial(name: str, *, planted: bool) -> Trial:
    volume = make_chest(balls=(BALL,) if planted else ())
    row = Annotation(name, *BALL.centre_lps_mm, BALL.diameter_mm)
    return Trial(name, volume, (row,) if planted else ())


@pytest.mark.slow
def test_a_planted_ball_is_found_and_scored() -> None:
    trials = [partial(ball_trial, "with", planted=True), partial(ball_trial, "bare", planted=False)]
    done: list[int] = []
    outcome = measure(Bright().eval(), trials, progress=done.append)
    assert done == [1, 2]
    assert (outcome.froc.n_scans, outcome.froc.n_annotations) == (2, 1)
    assert outcome.froc.true_positives == 1
    best = max(outcome.marks, key=lambda mark: mark.probability)
    assert best.series_uid == "with"
    assert (best.x_mm, best.y_mm, best.z_mm) == pytest.approx(BALL.centre_lps_mm, abs=4)


def test_inserted_nodules_are_where_they_are_said_to_be() -> None:
    noise = np.random.default_rng(0)
    volume = make_chest(noise=noise)
    known = (70.0, 0.0, 0.0, 30.0)
    trial = insertion_trial(
        volume, name="a", count=3, rng=np.random.default_rng(4), excluded=[known]
    )
    assert len(trial.planted) == 3
    assert trial.excluded == (Annotation("a", *known),)
    before = np.maximum(volume.read_all(), AIR_HU)
    change = np.abs(trial.volume.read_all() - before) > 30
    assert change.any()
    places = index_to_lps(volume.affine_lps, np.argwhere(change))
    centres = np.array([[row.x_mm, row.y_mm, row.z_mm] for row in trial.planted])
    reach = np.array([row.diameter_mm for row in trial.planted]) / 2 + 2 * VOXEL_MM
    away = np.linalg.norm(places[:, None] - centres, axis=-1)
    assert (away <= reach).any(axis=1).all()
    assert (np.linalg.norm(centres - known[:3], axis=1) > known[3] / 2).all()
